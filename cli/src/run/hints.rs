//! Where to look after a run: files that sinks wrote, and how to read the topics.

use std::path::{Path, PathBuf};

use millrace_connect_runtime::plan::{Access, Plan};

use crate::exit::Outcome;
use crate::output;

/// `data_dir`: of the broker that ran in this process and has ended.
pub(super) fn show(plan: &Plan, address: &str, data_dir: Option<&Path>) -> Outcome {
    let mut text = String::from("\nlook here:\n");
    for sink in plan.pipelines.iter().flat_map(|pipeline| &pipeline.sinks) {
        let written = sink.guest.grants.files.iter().filter(|grant| grant.access == Access::Write);
        let name = sink.guest.settings.get("path").and_then(|path| Path::new(path.as_str()?).file_name());
        for grant in written {
            // A sink that rotates gives other names: then the folder is where to look.
            let file = name.map(|name| grant.host.join(name)).filter(|file| file.exists());
            let path = file.unwrap_or_else(|| grant.host.clone());
            text.push_str(&format!("  {}: {}\n", sink.name, near(&path).display()));
        }
    }
    if let Some(data_dir) = data_dir {
        let data_dir = near(data_dir);
        text.push_str(&format!(
            "the topics, after `millrace broker --data-dir {} --listen {address}`, with any Kafka client:\n",
            data_dir.display()
        ));
    } else {
        text.push_str("the topics, with any Kafka client:\n");
    }
    for pipeline in &plan.pipelines {
        let topic = &pipeline.topic.name;
        text.push_str(&format!("  kcat -b {address} -t {topic} -C -e\n"));
        text.push_str(&format!("  millrace consume {topic} -b {address} --from earliest --until-end\n"));
    }
    output::line(text.trim_end())
}

/// The path from the current directory, if it is below it.
fn near(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.strip_prefix(&here).map_or_else(|_| path.to_owned(), Path::to_owned)
}
