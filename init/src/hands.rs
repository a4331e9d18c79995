//! Carries out what the engine commands.

use std::time::{Duration, Instant};

use engine::{Action, Command, CommandId, Event, Failure, Outcome, SecretSource, record};

use crate::bcache;
use crate::clock;
use crate::crypt;
use crate::dm;
use crate::event_loop::{Boot, Departure, Report, Waiting};
use crate::external_md;
use crate::handoff;
use crate::key_file;
use crate::keyed_dm;
use crate::kmsg;
use crate::md;
use crate::mount_root;
use crate::power;
use crate::probe;

/// How long a module that is being loaded may hold up the hand-over.
const LONGEST_MODULE: Duration = Duration::from_secs(5);
/// How long reading a device that does not hang takes at most.
const READING: Duration = Duration::from_millis(100);

fn secret_is_gone(id: CommandId) -> Event {
    Event::Failed(id, Failure::Other("the secret is gone".to_owned()))
}

impl Boot {
    /// Carries out commands in order. Whatever may block goes to a worker.
    pub(crate) fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            log::debug!("{}", record::command(clock::now(), &command));
            self.act(command.id, command.action);
        }
    }

    fn act(&mut self, id: CommandId, action: Action) {
        let generation = self.generation;
        if matches!(
            action,
            Action::OpenCrypt { .. }
                | Action::AssembleArray(_)
                | Action::StartContainer(_)
                | Action::CreateDm(_)
        ) {
            self.at_work.insert((generation, id), None);
        }
        match action {
            Action::Coldplug => {
                self.walk_devices();
                self.events.push(Event::Coldplugged);
            }
            Action::Identify(device) => {
                match self.engine.table().get(&device).map(|known| known.facts.clone()) {
                    Some(facts) => {
                        // The driver that it needs comes next, and with one CPU another would be in its way.
                        if self.loader_limit == 1 {
                            self.at_work.insert((generation, id), Instant::now().checked_add(READING));
                        }
                        let read = move || probe::identify(&device, &facts);
                        self.pool.submit(move || Report::Identified(generation, id, read()));
                    }
                    None => self.events.push(Event::Failed(id, Failure::Gone)),
                }
            }
            Action::LoadModules(names) => {
                self.loader.request(&names);
                self.waiting.push(Waiting { id, names });
            }
            Action::LoadInputDrivers => self.loader.allow_input(),
            Action::LoadOtherDrivers => self.loader.allow_rest(),
            Action::Link(device, links) => {
                if let Err(error) = self.links.apply(&device, &links) {
                    log::warn!("{error}");
                }
            }
            Action::OpenCrypt { device, name, secret, options } => {
                let request = crypt::OpenRequest { device: format!("/dev/{device}"), name, options };
                match secret {
                    SecretSource::Held(number) => match self.vault.get(number) {
                        Some(secret) => self.submit(id, move || crypt::open(&request, &secret)),
                        None => {
                            self.at_work.remove(&(generation, id));
                            self.events.push(secret_is_gone(id));
                        }
                    },
                    SecretSource::File { path, offset, size } => self.submit(id, move || {
                        let secret = key_file::read(&path, offset, size)?;
                        crypt::open(&request, &secret)
                    }),
                }
            }
            Action::CreateDm(device) => self.submit_for(id, move || dm::create(&device)),
            Action::ReloadDm(device) => self.submit_first(id, move || dm::reload(&device)),
            Action::MessageDm(name, message) => {
                self.submit_first(id, move || dm::message(&name, &message));
            }
            Action::ResumeDm(name, read_ahead) => self.submit_for(id, move || dm::resume(&name, read_ahead)),
            Action::CheckPool(device, kind) => self.submit_for(id, move || dm::check_pool(device, kind)),
            Action::CreateKeyedDm(device, key) => {
                self.submit_for(id, move || keyed_dm::create(&device, &key));
            }
            Action::ReadVerity(device, offset) => self.submit_for(id, move || probe::verity(&device, offset)),
            Action::StartBcache(device, alone, volumes) => self.submit_for(id, move || {
                if alone { bcache::start_alone(&device) } else { bcache::register(&device, &volumes) }
            }),
            Action::StartContainer(request) => self.submit_for(id, move || external_md::start(&request)),
            Action::RemoveDm(name) => self.submit_for(id, move || dm::remove(&name)),
            Action::AssembleArray(request) => self.submit_for(id, move || md::assemble(&request)),
            Action::AddSpare(array, spare) => self.submit_for(id, move || md::add_spare(&array, &spare)),
            Action::StopArray(array) => self.submit_for(id, move || md::stop(&array)),
            Action::RemovePartitions(disk) => self.submit_for(id, move || {
                md::array::remove_partitions(&disk);
                Ok(Outcome::Done)
            }),
            Action::MakeWritable(volumes) => self.submit_for(id, move || {
                volumes.iter().try_for_each(external_md::make_writable).map(|()| Outcome::Done)
            }),
            Action::WaitClean => self.submit_for(id, md::wait_clean),
            Action::ReadKey { device, fstype, path, named, offset, size } => {
                let device = format!("/dev/{device}");
                let read = move || match fstype {
                    Some(fstype) => {
                        let place = key_file::Place { device: &device, fstype: &fstype, path: &path, named };
                        key_file::read_from_device(place, offset, size)
                    }
                    None => key_file::read_from_raw(&device, offset, size),
                };
                self.pool.submit(move || Report::Key(generation, id, read().map(Some)));
            }
            Action::UnsealKey(place, number) => {
                let secret = number.and_then(|number| self.vault.get(number));
                if number.is_some() && secret.is_none() {
                    self.events.push(secret_is_gone(id));
                    return;
                }
                let unseal = move || crypt::unseal_key(&place, secret.as_deref());
                self.pool.submit(move || Report::Key(generation, id, unseal()));
            }
            Action::AskPassphrase { question, prompt, note, device } => {
                self.ask_passphrase(question, &prompt, note.as_deref(), device.as_ref());
            }
            Action::StopAsking => self.stop_asking(),
            Action::Mount(request) => {
                self.mounting = Some(id);
                self.submit_for(id, move || mount_root::mount(&request));
            }
            Action::SwitchRoot { init, args } => {
                let volumes_on_md = self.volumes_on_md();
                let unpartitioned = self.engine.unpartitioned();
                let request =
                    handoff::Request { init, args, start: self.stamp, volumes_on_md, unpartitioned };
                let latest = clock::now().after(LONGEST_MODULE);
                self.departure = Some(Departure { id, request, latest });
            }
            Action::Break(point) => {
                self.at_break = true;
                kmsg::say(engine::Loudness::Notice, format_args!("break point {point:?}; `boot` goes on"));
                self.serve_operator();
            }
            Action::Say(loudness, text) => kmsg::say(loudness, text),
            Action::Explain(loudness, explanation) => kmsg::say(loudness, explanation),
            Action::Rescue => self.serve_operator(),
            Action::GiveUp(end) => {
                let failure = power::end(end.into());
                kmsg::say(engine::Loudness::Error, failure);
            }
        }
    }

    fn submit(&self, id: CommandId, job: impl FnOnce() -> Result<(), Failure> + Send + 'static) {
        self.submit_for(id, move || job().map(|()| Outcome::Done));
    }

    /// As [`Self::submit`], for what brings something back.
    fn submit_for(&self, id: CommandId, job: impl FnOnce() -> Result<Outcome, Failure> + Send + 'static) {
        let generation = self.generation;
        self.pool.submit(move || Report::Command(generation, id, job()));
    }

    /// For what waits for no disk and may let others go on that do.
    fn submit_first(&self, id: CommandId, job: impl FnOnce() -> Result<Outcome, Failure> + Send + 'static) {
        let generation = self.generation;
        self.pool.submit_first(move || Report::Command(generation, id, job()));
    }

    /// Numbers of MD arrays, and of their partitions, that hold an LVM physical volume.
    fn volumes_on_md(&self) -> Vec<(u32, u32)> {
        let table = self.engine.table();
        let devices = table.iter().filter(|device| {
            let whole = device.facts.parent.as_ref().and_then(|parent| table.get(parent)).unwrap_or(device);
            let holds_volume = device.signature().is_some_and(|one| one.kind == ondisk::Kind::Lvm2Pv);
            whole.facts.md.is_some() && holds_volume
        });
        devices.map(|device| (device.facts.major, device.facts.minor)).collect()
    }

    /// Hands over if it is time to; comes back only when that cannot be, and with nothing moved.
    pub(crate) fn depart(&mut self) {
        let now = clock::now();
        let due = |departure: &mut Departure| self.loader.running() == 0 || now >= departure.latest;
        let Some(Departure { id, request, .. }) = self.departure.take_if(due) else { return };
        let failure = match handoff::check(request.init.as_deref()) {
            Ok(_) => {
                // From here on no secret is needed any more, and no job that no thread has begun.
                self.vault.clear();
                self.pool.close();
                handoff::run(&request, &mut self.consoles)
            }
            Err(failure) => failure,
        };
        self.mounting = None;
        self.events.push(Event::Failed(id, failure));
    }
}
