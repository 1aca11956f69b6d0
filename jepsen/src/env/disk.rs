//! A node's disk: a folder, or an ext4 file system of its own in an image file.
//!
//! The image is mounted so that nothing reaches it by accident: the journal is committed every five minutes, and a rename does not
//! flush the file. What was not synced is lost when the power goes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FallocateFlags, fallocate, major, minor, statvfs};

use super::command::run;

/// Large enough for the log's segments (64 MiB each, up to three) and the data of a run.
const IMAGE_BYTES: u64 = 768 << 20;
/// The file that fills a disk.
const FILLER: &str = "filler";
/// The filler is grown in steps no smaller than this.
const FILLER_STEP_BYTES_MIN: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DiskKind {
    /// A folder; keeps what was not synced, as long as the machine lives.
    Folder,
    /// An ext4 image on a loop device; needs root.
    Image,
}

#[derive(Debug)]
pub struct Disk {
    kind: DiskKind,
    image: PathBuf,
    /// Where the file system is; the folder itself without an image.
    pub path: PathBuf,
}

impl Disk {
    /// An empty disk below `home`.
    pub(super) async fn create(home: &Path, kind: DiskKind) -> Result<Self> {
        let disk = Self { kind, image: home.join("disk.img"), path: home.join("disk") };
        fs::create_dir_all(&disk.path)?;
        disk.format().await?;
        Ok(disk)
    }

    async fn format(&self) -> Result<()> {
        if self.kind == DiskKind::Image {
            File::create(&self.image)?.set_len(IMAGE_BYTES)?;
            run("mkfs.ext4", &["-q", "-F", text(&self.image)?]).await?;
            self.mount().await?;
        }
        Ok(())
    }

    async fn mount(&self) -> Result<()> {
        run("mount", &["-o", "loop,commit=300,noauto_da_alloc", text(&self.image)?, text(&self.path)?]).await?;
        Ok(())
    }

    pub async fn unmount(&self) -> Result<()> {
        if self.kind == DiskKind::Image {
            run("umount", &[text(&self.path)?]).await?;
        }
        Ok(())
    }

    /// Nothing that was not synced reaches the disk from now on, and nothing else either. By xfs_io, which speaks ext4's call too.
    pub async fn cut_power(&self) -> Result<()> {
        self.need_image()?;
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.path)?]).await?;
        Ok(())
    }

    /// After [`Self::cut_power`], when no process uses the disk any more.
    pub async fn restore_power(&self) -> Result<()> {
        self.unmount().await?;
        self.mount().await
    }

    /// An empty disk in place of this one, which no process uses.
    pub async fn replace(&self) -> Result<()> {
        self.unmount().await?;
        fs::remove_dir_all(&self.path)?;
        fs::create_dir_all(&self.path)?;
        self.format().await
    }

    /// Leaves no room. Blocks are set aside, not written.
    pub fn fill(&self) -> Result<()> {
        self.need_image()?;
        let filler = File::create(self.path.join(FILLER))?;
        let (mut len, mut step) = (0, statvfs(&self.path)?.f_bavail * statvfs(&self.path)?.f_frsize);
        while step >= FILLER_STEP_BYTES_MIN {
            match fallocate(&filler, FallocateFlags::empty(), len, step) {
                Ok(()) => len += step,
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
        Ok(())
    }

    /// Gives the room back, for good: the filler must not come back when the power goes.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.path.join(FILLER))?;
        Ok(File::open(&self.path)?.sync_all()?)
    }

    /// Every write waits from now on.
    pub async fn freeze(&self) -> Result<()> {
        self.need_image()?;
        run("fsfreeze", &["--freeze", text(&self.path)?]).await?;
        Ok(())
    }

    /// Harmless when nothing is frozen.
    pub async fn thaw(&self) {
        if self.kind == DiskKind::Image
            && let Ok(path) = text(&self.path)
        {
            drop(run("fsfreeze", &["--unfreeze", path]).await);
        }
    }

    /// The loop device, as `major:minor`.
    pub fn device(&self) -> Result<String> {
        self.need_image()?;
        let device = fs::metadata(&self.path)?.dev();
        Ok(format!("{}:{}", major(device), minor(device)))
    }

    fn need_image(&self) -> Result<()> {
        if self.kind != DiskKind::Image {
            bail!("only an image can do this");
        }
        Ok(())
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}
