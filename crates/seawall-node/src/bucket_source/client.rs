//! Requests to an S3-compatible server: signed, sent, tried again where that helps.
//!
//! The crate `object_store` lends its configuration, credentials, signatures and connections. Its
//! own operations are not used for sources: they refuse a whole page of a listing because of one
//! key they do not like.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector as _, HttpError, HttpRequest, HttpRequestBody,
    HttpResponse, ReqwestConnector,
};

use seawall_backup::source::listing::{MAX_LISTING, escape, refusal};

/// How often a request is made before its failure counts.
const TRIES: u32 = 5;
/// Silence after which a connection is given up.
const SILENCE: Duration = Duration::from_mins(1);

/// A server and a bucket on it.
pub(super) struct Client {
    http: HttpClient,
    /// URL of the bucket, without a slash at its end.
    bucket: String,
    region: String,
    /// None for a bucket that everybody may read.
    credentials: Option<AwsCredentialProvider>,
    is_payer: bool,
}

impl Client {
    /// Bucket `name`, with everything else from the `AWS_*` variables.
    pub(super) fn from_env(name: &str) -> Result<Self, object_store::Error> {
        let builder = AmazonS3Builder::from_env().with_bucket_name(name);
        let value = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
        let is_set = |key: AmazonS3ConfigKey| value(key).is_some_and(|value| value == "true");
        let region = value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint =
            value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint));
        let bucket = match (endpoint, is_set(AmazonS3ConfigKey::VirtualHostedStyleRequest)) {
            (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
            (Some(endpoint), false) => format!("{}/{name}", endpoint.trim_end_matches('/')),
            (None, true) => format!("https://{name}.s3.{region}.amazonaws.com"),
            (None, false) => format!("https://s3.{region}.amazonaws.com/{name}"),
        };
        let mut options = ClientOptions::new();
        for key in [
            ClientConfigKey::AllowHttp,
            ClientConfigKey::AllowInvalidCertificates,
            ClientConfigKey::NoSystemCertificates,
            ClientConfigKey::ConnectTimeout,
            ClientConfigKey::ProxyUrl,
            ClientConfigKey::ProxyCaCertificate,
            ClientConfigKey::ProxyExcludes,
        ] {
            if let Some(value) = value(AmazonS3ConfigKey::Client(key)) {
                options = options.with_config(key, value);
            }
        }
        // An object may take hours, as long as something comes.
        let options = options.with_timeout_disabled().with_read_timeout(SILENCE);
        let is_public = is_set(AmazonS3ConfigKey::SkipSignature);
        let is_payer = is_set(AmazonS3ConfigKey::RequestPayer);
        let store = builder.build()?;
        Ok(Self {
            http: ReqwestConnector::default().connect(&options)?,
            bucket,
            region,
            credentials: (!is_public).then(|| store.credentials().clone()),
            is_payer,
        })
    }

    /// A page of the listing of `prefix`.
    pub(super) async fn list(&self, prefix: &[u8], token: Option<&[u8]>) -> io::Result<Bytes> {
        let mut query = "list-type=2&encoding-type=url&max-keys=1000".to_owned();
        query.push_str(&format!("&prefix={}", escape(prefix, false)));
        if let Some(token) = token {
            query.push_str(&format!("&continuation-token={}", escape(token, false)));
        }
        let url = format!("{}?{query}", self.bucket);
        let mut tries = 0;
        loop {
            let answer = self.get(&url, &HeaderMap::new()).await?;
            if !answer.status().is_success() {
                return Err(refused(answer).await);
            }
            match whole(answer).await {
                Err(e) if tries + 1 < TRIES && e.kind() == io::ErrorKind::ConnectionAborted => {
                    pause(tries).await;
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// An object from `from` on; of the version with this tag if one is given.
    pub(super) async fn object(
        &self,
        key: &[u8],
        from: u64,
        version: Option<&HeaderValue>,
    ) -> io::Result<HttpResponse> {
        let url = format!("{}/{}", self.bucket, escape(key, true));
        let mut headers = HeaderMap::new();
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"));
            headers.insert(http::header::RANGE, range.expect("digits are visible"));
        }
        if let Some(version) = version {
            headers.insert(http::header::IF_MATCH, version.clone());
        }
        self.get(&url, &headers).await
    }

    /// Makes a request until it is answered with anything but a failure that may pass.
    async fn get(&self, url: &str, headers: &HeaderMap) -> io::Result<HttpResponse> {
        let mut tries = 0;
        loop {
            let answer = self.http.execute(self.request(url, headers).await?).await;
            let may_pass = match &answer {
                Ok(answer) => {
                    answer.status().is_server_error()
                        || answer.status() == StatusCode::TOO_MANY_REQUESTS
                }
                Err(_) => true,
            };
            tries += 1;
            if !may_pass || tries == TRIES {
                return answer.map_err(|e| unreachable_server(&e));
            }
            pause(tries).await;
        }
    }

    async fn request(&self, url: &str, headers: &HeaderMap) -> io::Result<HttpRequest> {
        let mut request = http::Request::get(url)
            .body(HttpRequestBody::empty())
            .map_err(|e| io::Error::other(format!("no address: {e}")))?;
        for (name, value) in headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await.map_err(io::Error::other)?;
            AwsAuthorizer::new(&credential, "s3", &self.region)
                .with_request_payer(self.is_payer)
                .try_authorize(&mut request, None)
                .map_err(io::Error::other)?;
        }
        Ok(request)
    }
}

fn unreachable_server(e: &HttpError) -> io::Error {
    let mut words = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(inner) = cause {
        if !words.contains(&inner.to_string()) {
            words.push_str(&format!(": {inner}"));
        }
        cause = inner.source();
    }
    io::Error::new(io::ErrorKind::ConnectionAborted, words)
}

/// Half a second, then twice as long each time.
async fn pause(tries: u32) {
    tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(tries)).await;
}

/// The body of an answer, up to the longest listing.
async fn whole(answer: HttpResponse) -> io::Result<Bytes> {
    let mut stream = body(answer);
    let mut out = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part.map_err(|e| unreachable_server(&e))?;
        if out.len() + part.len() > MAX_LISTING {
            return Err(io::Error::other(format!("an answer of more than {MAX_LISTING} bytes")));
        }
        out.extend_from_slice(&part);
    }
    Ok(out.into())
}

/// What an answer that is no success says.
pub(super) async fn refused(answer: HttpResponse) -> io::Error {
    let status = answer.status();
    let said = whole(answer).await.map_or_else(|_| String::new(), |body| refusal(&body));
    io::Error::other(if said.is_empty() {
        format!("the server answers {status}")
    } else {
        format!("the server answers {status}: {said}")
    })
}

pub(super) fn body(answer: HttpResponse) -> BoxStream<'static, Result<Bytes, HttpError>> {
    answer.into_body().bytes_stream()
}

/// A header as text, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
