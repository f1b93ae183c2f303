//! Replacements for DynamoDB and Secrets Manager over TLS, which count the calls.
//!
//! They do only what a conditional write needs, so that their own time hardly counts. A new authority for each run signs
//! their certificate.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use testkit::http::{self, Message, Reader};

/// The signing secret.
pub const SECRET: &str = "a measurement's secret";

/// Both services on one port.
pub struct Aws {
    /// The value of the `AWS_ENDPOINT_URL_…` variables.
    pub url: String,
    /// The value of `SSL_CERT_FILE`.
    pub roots: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<String, u64>,
    items: HashMap<String, Value>,
    delay: Duration,
}

impl Aws {
    /// Starts both services. `folder` gets the roots of trust.
    pub fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &authority)?;
        let roots = folder.join("roots.pem");
        std::fs::write(&roots, authority.pem())?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        let tls = Arc::new(tls);

        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://localhost:{}", listener.local_addr()?.port());
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tls, state) = (tls.clone(), shared.clone());
                thread::spawn(move || serve(stream, tls, &state));
            }
        });
        Ok(Self { url, roots, state })
    }

    /// The calls by operation since the last call of this function.
    pub fn take_calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut lock(&self.state).calls)
    }

    /// Makes each answer come `delay` later.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Deletes every item.
    pub fn clear(&self) {
        lock(&self.state).items.clear();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, state: &Mutex<State>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = StreamOwned::new(ServerConnection::new(tls).ok()?, stream);
    let mut requests = Reader::default();
    while let Some(request) = requests.read(&mut stream).ok()? {
        let operation = request.header("x-amz-target").unwrap_or_default();
        let operation = operation.rsplit('.').next()?.to_owned();
        let (status, body) = answer(&operation, &request, &mut lock(state));
        let delay = {
            let mut state = lock(state);
            *state.calls.entry(operation).or_default() += 1;
            state.delay
        };
        thread::sleep(delay);
        let headers = "content-type: application/x-amz-json-1.0\r\nx-amzn-requestid: stand-in\r\n";
        let answer = http::answer(status, headers, body.to_string().as_bytes());
        stream.write_all(&answer).and_then(|()| stream.flush()).ok()?;
    }
    Some(())
}

fn answer(operation: &str, request: &Message, state: &mut State) -> (&'static str, Value) {
    const OK: &str = "200 OK";
    const BAD: &str = "400 Bad Request";
    let mut body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match operation {
        "GetItem" => (OK, json!({})),
        "PutItem" => {
            let item = body["Item"].take();
            let id = item["event_id"]["S"].as_str().unwrap_or_default().to_owned();
            if body["ConditionExpression"].is_string() {
                if let Some(there) = state.items.get(&id) {
                    let refusal = json!({
                        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                        "message": "The conditional request failed",
                        "Item": there,
                    });
                    return (BAD, refusal);
                }
                state.items.insert(id, item);
            }
            (OK, json!({}))
        }
        "GetSecretValue" if body["VersionStage"] == "AWSCURRENT" => {
            let version = "11111111-1111-1111-1111-111111111111";
            (
                OK,
                json!({"SecretString": SECRET, "VersionId": version, "VersionStages": ["AWSCURRENT"]}),
            )
        }
        "GetSecretValue" => (
            BAD,
            json!({"__type": "ResourceNotFoundException", "Message": "no such version"}),
        ),
        _ => (BAD, json!({"__type": "UnknownOperationException"})),
    }
}
