//! `/api/events`: server-sent events (HTML, section 9.2). All listeners read one ring; who is slower than it turns loses the
//! oldest and is told how many.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, unfold};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::shell::notice::Notice;

/// The stream of one listener; it ends with the box.
pub fn follow(notices: Receiver<Arc<Notice>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = unfold(notices, |mut notices| async {
        let notice = next(&mut notices).await?;
        Some((Ok(event(&notice)), notices))
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

async fn next(notices: &mut Receiver<Arc<Notice>>) -> Option<Arc<Notice>> {
    match notices.recv().await {
        Ok(notice) => Some(notice),
        Err(RecvError::Lagged(events)) => Some(Arc::new(Notice::Lost { events })),
        Err(RecvError::Closed) => None,
    }
}

/// Its name is in its JSON too, so that one listener does for all.
fn event(notice: &Notice) -> Event {
    Event::default().json_data(notice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;

    use super::*;

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_it_has_lost() {
        let (notices, mut slow) = broadcast::channel(2);
        let reload = |good| Arc::new(Notice::Reload { good });
        for good in [true, false, true, false] {
            notices.send(reload(good)).unwrap();
        }
        drop(notices);
        let mut heard = Vec::new();
        while let Some(notice) = next(&mut slow).await {
            heard.push((*notice).clone());
        }
        let expected = [Notice::Lost { events: 2 }, Notice::Reload { good: true }, Notice::Reload { good: false }];
        assert_eq!(heard, expected);
    }
}
