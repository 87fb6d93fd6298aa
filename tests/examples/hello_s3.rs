//! The README's ten lines, with S3: shown there from the first `use` on, word by word.
#![expect(clippy::print_stdout, reason = "a program")]

use object_storage::{Key, ObjectStorageExt, StorageConfig};

#[compio::main(with_proactor(coop_taskrun = true, taskrun_flag = true))]
async fn main() -> object_storage::Result<()> {
    let url = std::env::args().nth(1).expect("s3://bucket/prefix?region=eu-west-1");
    let config = StorageConfig::from_url(&url)?;
    let storage = s3_backend::factory(&config)?.open().await?; // Rc<dyn ObjectStorage>
    let key = Key::parse("greetings/world")?;
    storage.put_bytes(&key, "hello").await?;
    println!("{:?}", storage.get_bytes(&key).await?);
    Ok(())
}
