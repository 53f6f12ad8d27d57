//! gRPC with certificates.

use std::net::SocketAddr;

use control::settings::{Pem, Settings};
use proto::sync::config_service_client::ConfigServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use secrecy::SecretString;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::support::{
    SYNC_TOKEN, TestApp, eventually,
    proxy::{self, credentials},
};

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
struct Leaf {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, name: &str) -> Leaf {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Leaf {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

fn pem(text: &str) -> Option<Pem> {
    Some(Pem(SecretString::from(text)))
}

fn with_certificate(leaf: Leaf) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.sync.sync_tls_cert = pem(&leaf.cert);
        settings.sync.sync_tls_key = pem(&leaf.key);
    }
}

fn client_tls(authority: &Authority, leaf: Option<&Leaf>) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority.pem()))
        .domain_name("control.test");
    match leaf {
        Some(leaf) => tls.identity(Identity::from_pem(&leaf.cert, &leaf.key)),
        None => tls,
    }
}

async fn watch(address: SocketAddr, tls: ClientTlsConfig) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .unwrap();
    let channel: Channel = eventually(endpoint.connect())
        .await
        .map_err(|error| format!("{error:?}"))?;
    let mut client = ConfigServiceClient::with_interceptor(channel, credentials(SYNC_TOKEN));
    let mut stream = eventually(client.watch(proxy::watch_request(None)))
        .await
        .map_err(|status| status.to_string())?
        .into_inner();
    let first = eventually(stream.message()).await;
    first.map(|_| ()).map_err(|status| status.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_grpc_is_tls_only() {
    let authority = Authority::new();
    let app = TestApp::start_with(with_certificate(authority.issue("control.test"))).await;
    watch(app.running.grpc_addr, client_tls(&authority, None))
        .await
        .unwrap();

    let stranger = client_tls(&Authority::new(), None);
    watch(app.running.grpc_addr, stranger).await.unwrap_err();
    let endpoint = Endpoint::from_shared(format!("http://{}", app.running.grpc_addr)).unwrap();
    let mut plain =
        ConfigServiceClient::with_interceptor(endpoint.connect_lazy(), credentials(SYNC_TOKEN));
    eventually(plain.watch(proxy::watch_request(None)))
        .await
        .unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_authority_proxies_need_a_certificate_of_it() {
    let authority = Authority::new();
    let app = TestApp::start_with(|settings| {
        with_certificate(authority.issue("control.test"))(settings);
        settings.sync.sync_tls_ca = pem(&authority.pem());
    })
    .await;
    let address = app.running.grpc_addr;
    let leaf = authority.issue("proxy.test");
    watch(address, client_tls(&authority, Some(&leaf)))
        .await
        .unwrap();

    watch(address, client_tls(&authority, None))
        .await
        .unwrap_err();
    let stranger = Authority::new().issue("proxy.test");
    watch(address, client_tls(&authority, Some(&stranger)))
        .await
        .unwrap_err();
}
