//! A transfer, dry: who acts on the REFER of the Microsoft side, what the gateway sees of it, what would break.

use super::Finding;
use crate::config::{Profile, Trunk, TrunkKind};

const CODE: &str = "refer";

/// For one gateway; `takes_refer` is what its own Allow says, `None` when it has not been heard.
pub(super) fn dry_run(lync: &Trunk, gateway: &Trunk, takes_refer: Option<bool>) -> Finding {
    let name = &gateway.name;
    let key = "EnableReferSupport";
    let subject = format!("transfer, {name}");
    if gateway.kind == TrunkKind::Isdn {
        let evidence = "demarc acts: it places the new call and joins it to the line's";
        return Finding::pass(CODE, subject, evidence);
    }
    if lync.kind == TrunkKind::Microsoft(Profile::Teams) {
        let evidence =
            format!("demarc acts: Teams' REFER becomes an INVITE back to its proxy; {name} sees a re-INVITE");
        return Finding::pass(CODE, subject, evidence);
    }
    if !gateway.switches.enable_refer_support {
        let why = format!("{key}=False or Enable3pccRefer=True");
        let evidence = format!("demarc acts ({why}): it places the new call; {name} sees a re-INVITE");
        return Finding::pass(CODE, subject, evidence);
    }
    let acts = format!("{name} shall act ({key}=True): it is sent the REFER");
    let notice = "transfers of calls through this gateway fail, or take longer until demarc acts in its place";
    let remedy = format!("{key}=False for {name}: demarc acts itself");
    match takes_refer {
        Some(true) => Finding::pass(CODE, subject, format!("{acts}; its Allow lists REFER")),
        Some(false) => Finding::fail(CODE, subject, format!("{acts}, but its Allow does not list REFER"))
            .notice(notice)
            .remedy(remedy),
        None => Finding::not_checked(
            CODE,
            subject,
            format!("{acts}; it has not said whether it takes one (no Allow heard)"),
        )
        .remedy(format!("place a call, or set {key}=False")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::sip::leg::tests::trunk;

    #[test]
    fn who_acts_on_a_refer() {
        let (sfb, teams) = (TrunkKind::Microsoft(Profile::Sfb2019), TrunkKind::Microsoft(Profile::Teams));
        let (sip, isdn) = (TrunkKind::Gateway, TrunkKind::Isdn);
        for (kind, gateway, support, allow, verdict, words) in [
            (sfb, sip, false, None, Verdict::Pass, "demarc acts (EnableReferSupport=False"),
            (sfb, sip, false, Some(false), Verdict::Pass, "demarc acts"),
            (sfb, sip, true, Some(true), Verdict::Pass, "shall act (EnableReferSupport=True)"),
            (sfb, sip, true, Some(false), Verdict::Fail, "its Allow does not list REFER"),
            (sfb, sip, true, None, Verdict::NotChecked, "no Allow heard"),
            (teams, sip, true, Some(false), Verdict::Pass, "INVITE back to its proxy"),
            (sfb, isdn, false, None, Verdict::Pass, "joins it to the line's"),
        ] {
            let mut gateway = trunk(gateway);
            gateway.switches.enable_refer_support = support;
            let finding = dry_run(&trunk(kind), &gateway, allow);
            assert_eq!(finding.verdict, verdict, "{finding}");
            assert!(finding.evidence.contains(words), "{finding}");
            assert_eq!(finding.verdict == Verdict::Fail, !finding.notice.is_empty());
        }
    }
}
