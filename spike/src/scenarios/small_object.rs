//! What fits one part is one put, whatever it was written through.

use std::rc::Rc;

use object_storage::{BufferedMultipartWriter, BufferedMultipartWriterOptions, ErrorKind, PutMode};

use crate::scenario::{Context, Outcome, Scenario, ensure, expect_kind, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "small-object",
    about: "an object below one part goes through BufferedMultipartWriter as a single put",
    run: |cx| Box::pin(run(cx)),
};

const KIB: usize = 1024;

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let bytes = noise(4, 300 * KIB);
    let conditional = cx.capabilities().put_create;
    let mode = if conditional { PutMode::Create } else { PutMode::Overwrite };
    let writer = |mode| {
        let options = BufferedMultipartWriterOptions::from(mode);
        BufferedMultipartWriter::new(Rc::clone(&cx.store), key.clone(), options)
    };
    cx.clear_requests();
    let mut first = writer(mode)?;
    for chunk in 0..300 {
        first.write(bytes.slice(chunk * KIB..(chunk + 1) * KIB)).await?;
    }
    first.finish().await?;
    let seen = match &cx.server {
        None => "",
        Some(inside) => {
            let requests = inside.server.requests();
            let one_put = requests.len() == 1 && inside.server.count("PutObject") == 1;
            ensure!(one_put, "it took {} requests instead of one PutObject", requests.len());
            ", one PutObject and no other request"
        }
    };
    cx.ensure_holds(&key, &bytes).await?;
    cx.ensure_no_uploads().await?;

    let mut empty = writer(PutMode::Overwrite)?;
    empty.finish().await?;
    cx.ensure_holds(&key, b"").await?;
    if !conditional {
        return passed(format!("300 writes of 1 KiB, one object{seen}"));
    }
    let mut second = writer(PutMode::Create)?;
    second.write(&b"late"[..]).await?;
    expect_kind(second.finish().await, ErrorKind::AlreadyExists, "a second writer with Create")?;
    cx.ensure_holds(&key, b"").await?;
    passed(format!("300 writes of 1 KiB, one object{seen}"))
}
