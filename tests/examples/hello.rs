//! The README's ten lines: shown there from the first `use` on, word by word.
#![expect(clippy::print_stdout, reason = "a program")]

use object_storage::{Key, ObjectStorageExt, StorageConfig};

#[compio::main(with_proactor(coop_taskrun = true, taskrun_flag = true))]
async fn main() -> object_storage::Result<()> {
    let config = StorageConfig::fs("hello-data").build()?;
    let storage = config.factory()?.open().await?; // Rc<dyn ObjectStorage>
    let key = Key::parse("greetings/world")?;
    storage.put_bytes(&key, "hello").await?;
    println!("{:?}", storage.get_bytes(&key).await?);
    Ok(())
}
