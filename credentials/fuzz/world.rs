//! The machine on which credentials are looked for while fuzzing: nothing of it is real, and nothing waits.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::{
    Clock, Command, CredentialsChain, CredentialsError, Dns, FixedRandom, Host, HttpError, HttpErrorKind,
    HttpSend, Identity, MemoryEnvironment, MemoryFiles, ProcessError, ProcessOutput, Processes, SendOptions,
    SourceName,
};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

/// Part of every secret that is sent. Nothing that is printed may hold it.
pub(crate) const MARK: &str = "CaNaRy-0";

/// More requests than any walk through its steps, with all attempts, makes.
const REQUESTS_MAX: usize = 64;

/// What is asked, and with what limits.
pub(crate) type Sent = (Request<Bytes>, SendOptions);

type Answer = Box<dyn Fn(&Request<Bytes>) -> Result<Response<Bytes>, HttpErrorKind>>;

/// Everything from outside.
#[derive(Clone)]
pub(crate) struct World {
    clock: Rc<Cell<Duration>>,
    answer: Rc<Answer>,
    printed: Rc<Vec<u8>>,
    pub(crate) sent: Rc<RefCell<Vec<Sent>>>,
}

impl World {
    /// `answer` is everybody's whom a request reaches; programs print `printed`.
    pub(crate) fn new(
        answer: impl Fn(&Request<Bytes>) -> Result<Response<Bytes>, HttpErrorKind> + 'static,
        printed: &[u8],
    ) -> World {
        World {
            clock: Rc::default(),
            answer: Rc::new(Box::new(answer)),
            printed: Rc::new(printed.to_vec()),
            sent: Rc::default(),
        }
    }

    /// What one source makes of it, which holds for everything it prints.
    pub(crate) fn ask(
        &self,
        source: SourceName,
        variables: &[(&str, &str)],
        files: &[(&str, &str)],
    ) -> Result<Identity, CredentialsError> {
        let host = Host::builder()
            .environment([("HOME", "/h")].iter().chain(variables).copied().collect::<MemoryEnvironment>())
            .files(files.iter().copied().collect::<MemoryFiles>())
            .clock(self.clone())
            .dns(self.clone())
            .http(self.clone())
            .processes(self.clone())
            .random(FixedRandom(7))
            .build();
        let chain = CredentialsChain::builder().only([source]).build();
        let answer = chain.resolve(&host).now_or_never().expect("nobody waits for anything");
        let printed = match &answer {
            Ok(identity) => format!("{identity:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!printed.contains(MARK), "{printed}");
        answer
    }
}

/// Whoever sleeps wakes up at once, later.
impl Clock for World {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.clock.get()
    }

    fn monotonic(&self) -> Duration {
        self.clock.get()
    }

    fn sleep(&self, duration: Duration) -> Option<LocalBoxFuture<'_, ()>> {
        Some(Box::pin(async move { self.clock.set(self.clock.get() + duration) }))
    }
}

/// Names in `local` are this machine; all others are somewhere.
impl Dns for World {
    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let local = name.to_ascii_lowercase().ends_with("local");
        let address = if local { [127, 0, 0, 1] } else { [203, 0, 113, 9] };
        Box::pin(async move { Ok(vec![address.into()]) })
    }
}

impl HttpSend for World {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        options: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        assert!(
            !format!("{:?}", request.headers()).contains(MARK),
            "a header that is not marked as sensitive"
        );
        let answer = match (self.answer)(&request) {
            // As whoever implements it has to.
            Ok(answer) if answer.body().len() > options.body_bytes_max => Err(HttpErrorKind::TooLarge),
            answer => answer,
        };
        let mut sent = self.sent.borrow_mut();
        sent.push((request, options.clone()));
        assert!(sent.len() <= REQUESTS_MAX, "requests without end");
        Box::pin(async move { answer.map_err(|kind| HttpError::new(kind, "as the world is")) })
    }
}

impl Processes for World {
    fn run<'a>(&'a self, command: &'a Command) -> LocalBoxFuture<'a, Result<ProcessOutput, ProcessError>> {
        let printed = self.printed[..self.printed.len().min(command.stdout_bytes_max)].to_vec();
        Box::pin(async move { Ok(ProcessOutput::new(Some(0), printed, Vec::new())) })
    }
}
