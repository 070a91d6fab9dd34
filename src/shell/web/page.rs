//! The page itself: three texts that hold nothing of the box, and so open without a token. All that they show they ask
//! of the JSON interface.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Scripts and styles are ours alone, and no text of a peer can become markup: the browser refuses `innerHTML` and its kin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// `/`, and the two texts that it names.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let text = |kind, text| get(move || async move { answer(kind, text) });
    Router::new()
        .route("/", text("text/html; charset=utf-8", include_str!("page.html")))
        .route("/page.css", text("text/css; charset=utf-8", include_str!("page.css")))
        .route("/page.js", text("text/javascript; charset=utf-8", include_str!("page.js")))
}

/// Always asked for anew: after an upgrade an old page would misread the new box.
fn answer(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_loaded_from_elsewhere_and_nothing_is_made_markup() {
        for text in [include_str!("page.html"), include_str!("page.css"), include_str!("page.js")] {
            for word in
                ["//cdn", "http:", "https:", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacent", "eval"]
            {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
