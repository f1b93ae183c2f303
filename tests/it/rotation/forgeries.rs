//! Forgeries and bursts cannot drive calls to Secrets Manager.

use emulators::Fault;
use sonotheia_webhook::secrets::Stage;

use super::Rotation;

#[tokio::test]
async fn forgeries_cannot_drive_calls() {
    let r = Rotation::start("one").await;
    r.verify("one", 0).await.unwrap();
    let forge = |from: i64, to: i64| {
        let r = &r;
        async move {
            for seconds in from..to {
                for _ in 0..5 {
                    assert_eq!(r.verify("forged", seconds).await.unwrap(), None);
                }
            }
        }
    };
    // One call for the previous version, and one more for the current version.
    assert_eq!(r.calls(forge(1, 31)).await.1, 2);
    // From then on one refresh in 30 s.
    assert_eq!(r.calls(forge(31, 61)).await.1, 1);
    assert_eq!(r.calls(forge(61, 91)).await.1, 1);
}

#[tokio::test]
async fn fifty_deliveries_at_once_make_one_call() {
    let r = Rotation::start("one").await;
    let all = futures_util::future::join_all((0..50).map(|_| r.verify("one", 0)));
    let (verdicts, calls) = r.calls(all).await;
    assert!(
        verdicts
            .into_iter()
            .all(|verdict| verdict.unwrap() == Some(Stage::Current))
    );
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn forgeries_cannot_drive_calls_while_no_secret_is_known() {
    let r = Rotation::start("one").await;
    r.manager.break_with(Some(Fault::InternalError));
    let forgeries = async {
        for _ in 0..100 {
            assert!(r.verify("forged", 0).await.is_err());
        }
    };
    let ((), calls) = r.calls(forgeries).await;
    // Ten calls of two attempts each.
    assert!(calls <= 20, "{calls} calls");
    r.manager.break_with(None);
    assert_eq!(r.verify("one", 11).await.unwrap(), Some(Stage::Current));
}
