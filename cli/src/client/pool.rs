//! Connections to the server that wait for another request.
//! Invariant: a request that an idle connection did not take any more goes out on another; one that it took is never sent twice.
//! Behaviour follows `persistConn` of Go's `net/http/transport.go`, with the limit of `staging/src/k8s.io/apimachinery/pkg/util/net/http.go`.

use super::{Client, connect};
use crate::error::Problem;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use std::cell::RefCell;
use std::rc::Rc;

/// How many connections wait at most.
const MOST: usize = 25;

/// Cheap to clone; clones share connections.
pub struct Pool<B>(Rc<RefCell<Vec<SendRequest<B>>>>);

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Pool(Rc::default())
    }
}

impl<B> Clone for Pool<B> {
    fn clone(&self) -> Self {
        Pool(self.0.clone())
    }
}

impl<B> Pool<B>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Sends, on an idle connection if there is one that still works. The sender is for [`Pool::keep`], once the answer has been read.
    ///
    /// # Errors
    /// The cause, in Go's words.
    pub async fn send(
        &self,
        client: &Client,
        mut request: Request<B>,
    ) -> Result<(Response<Incoming>, SendRequest<B>), Problem> {
        let cause = |why: &hyper::Error| Problem(connect::cause(why));
        loop {
            let Some(mut sender) = self.0.borrow_mut().pop() else {
                break;
            };
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut why) => match why.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(cause(&why.into_error())),
                },
            }
        }
        let mut sender = client.raw_connection(None).await?;
        let sent = sender.send_request(request).await;
        sent.map(|response| (response, sender))
            .map_err(|why| cause(&why))
    }

    /// Keeps a connection for the next request.
    pub fn keep(&self, sender: SendRequest<B>) {
        let mut idle = self.0.borrow_mut();
        if idle.len() < MOST {
            idle.push(sender);
        }
    }

    /// The same, as soon as its answer has been read.
    pub fn keep_when_ready(&self, mut sender: SendRequest<B>) {
        let pool = self.clone();
        tokio::task::spawn_local(async move {
            if sender.ready().await.is_ok() {
                pool.keep(sender);
            }
        });
    }
}
