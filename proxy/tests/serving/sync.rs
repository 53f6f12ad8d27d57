//! Configuration comes down whole, usage goes up once, whatever breaks.

use proto::sync::Kind;
use testkit::anthropic::Simulator;
use tonic::transport::{Certificate, Identity};

use crate::support::{
    KEY_ID, Rig,
    control::{Control, access_key, name, position, user, user_and_key},
    key, other_key, question,
};

async fn status(rig: &Rig, raw_key: &str) -> u16 {
    let path = format!("/ak/{raw_key}/v1/messages");
    let answer = rig.client().await.post(&path, &question(true)).await;
    answer.status.as_u16()
}

#[tokio::test]
async fn a_snapshot_in_parts_takes_effect_when_it_is_complete() {
    let simulator = Simulator::start().await.unwrap();
    let mut rig = Rig::unready(simulator, &[]).await;
    let mut watch = rig.control.watched().await;
    watch.part(4, vec![user(1)], false).await;
    watch
        .part(4, vec![access_key(KEY_ID, &key(), 2)], false)
        .await;
    assert_eq!(status(&rig, &key()).await, 503);
    // It breaks off: the parts are worth nothing.
    drop(watch);
    let mut watch = rig.control.watched().await;
    assert_eq!(watch.request.resume_from, None);
    watch.part(5, vec![user(1)], false).await;
    watch
        .part(5, vec![access_key("another", &other_key(), 5)], true)
        .await;
    rig.control.applied(5).await;
    assert_eq!(status(&rig, &key()).await, 401);
    assert_eq!(status(&rig, &other_key()).await, 200);
}

#[tokio::test]
async fn a_proxy_that_is_cut_off_serves_on_and_resumes() {
    let mut rig = Rig::start().await;
    rig.control.end_watch();
    assert_eq!(status(&rig, &key()).await, 200);
    let mut watch = rig.control.watched().await;
    assert_eq!(watch.request.resume_from, Some(position(1)));
    let removed = vec![name(Kind::AccessKey, KEY_ID)];
    watch.delta(1, 7, vec![], removed).await;
    rig.control.applied(7).await;
    assert_eq!(status(&rig, &key()).await, 401);
}

#[tokio::test]
async fn a_gap_or_a_drift_asks_for_everything_again() {
    let mut rig = Rig::start().await;
    rig.control.watch().delta(5, 6, vec![], vec![]).await;
    let mut watch = rig.control.watched().await;
    assert_eq!(watch.request.resume_from, None);
    assert_eq!(
        status(&rig, &key()).await,
        200,
        "what was held is served on"
    );

    watch.snapshot(6, user_and_key()).await;
    watch.heartbeat(6, &user_and_key()).await;
    rig.control.applied(6).await;
    watch.heartbeat(6, &[user(1)]).await;
    let watch = rig.control.watched().await;
    assert_eq!(watch.request.resume_from, None);
}

#[tokio::test]
async fn a_heartbeat_of_another_revision_is_no_drift() {
    let mut rig = Rig::start().await;
    rig.control.watch().heartbeat(9, &[]).await;
    let added = vec![access_key("another", &other_key(), 9)];
    rig.control.watch().delta(1, 9, added, vec![]).await;
    let report = rig.control.applied(9).await;
    assert_eq!(report.rejected, []);
}

#[tokio::test]
async fn what_is_not_understood_is_reported() {
    let mut rig = Rig::start().await;
    let mut broken = access_key("broken", &other_key(), 2);
    broken.spec = None;
    rig.control.watch().delta(1, 2, vec![broken], vec![]).await;
    let report = rig
        .control
        .reported(|report| !report.rejected.is_empty())
        .await;
    assert_eq!(
        report.rejected[0].name,
        Some(name(Kind::AccessKey, "broken"))
    );
    assert_eq!(report.rejected[0].version, 2);
    assert_eq!(report.applied, Some(position(2)));
}

#[tokio::test]
async fn usage_without_an_acknowledgement_is_sent_again_unchanged() {
    let simulator = Simulator::start().await.unwrap();
    let mut rig = Rig::unready(simulator, &[]).await;
    let mut watch = rig.control.watched().await;
    watch.snapshot(1, user_and_key()).await;
    rig.control.applied(1).await;
    rig.control.acknowledge_by_hand();
    // The stream that was open from the start acknowledges by itself: end it by
    // using it, which is the one event that is acknowledged here.
    status(&rig, &key()).await;
    rig.control.event().await;
    rig.control.end_pushes();

    status(&rig, &key()).await;
    let mut push = rig.control.pushed().await;
    let batch = push.batch().await;
    assert_eq!((batch.sequence, batch.events.len()), (1, 1));
    drop(push);
    let mut push = rig.control.pushed().await;
    assert_eq!(push.batch().await, batch);
    push.acknowledge(1).await;
    let report = rig.control.reported(|report| report.usage_pending == 0);
    assert_eq!(report.await.usage_dropped, 0);
}

#[tokio::test]
async fn control_is_spoken_to_over_mutual_tls_when_configured() {
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let (cert, private) = issue("127.0.0.1");
    let identity = Identity::from_pem(cert, private);
    let control = Control::start_tls(identity, Certificate::from_pem(&ca_pem)).await;

    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, private) = issue("proxy");
    let settings = [
        format!("--sync-tls-ca={}", file("ca.pem", &ca_pem)),
        format!("--sync-tls-cert={}", file("cert.pem", &cert)),
        format!("--sync-tls-key={}", file("key.pem", &private)),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let simulator = Simulator::start().await.unwrap();
    let mut rig = Rig::beside(control, simulator, &settings).await;
    let mut watch = rig.control.watched().await;
    watch.snapshot(1, user_and_key()).await;
    rig.control.applied(1).await;
    assert_eq!(status(&rig, &key()).await, 200);
    rig.control.event().await;
}

#[tokio::test]
async fn usage_waits_while_control_is_away() {
    let rig = Rig::start().await;
    rig.control.refuse_pushes();
    for _ in 0..3 {
        assert_eq!(status(&rig, &key()).await, 200);
    }
    rig.control.accept_pushes();
    let events = rig.control.events(3).await;
    let ids: std::collections::HashSet<_> = events.iter().map(|it| &it.event_id).collect();
    assert_eq!((events.len(), ids.len()), (3, 3));
}
