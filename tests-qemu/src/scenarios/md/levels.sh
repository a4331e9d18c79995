# Every level and metadata version. Made by Linux 6.1: 6.8 to 6.13 have no linear level.
#
# Arrays named `probe:` are local, `any:` everybody's, `elsewhere:` foreign: three rules of naming. Disks of zeros are in
# sync whatever the level, hence --assume-clean.
partitions 64M 16M 16M 16M 16M 16M 16M 16M 16M 16M 16M 16M 16M 16M
home="--homehost=probe" fresh="--assume-clean --bitmap=none" mapped="--assume-clean --bitmap=internal"
create 1 "A B C" /dev/md/root $mapped $home --level=1 --raid-devices=2 --spare-devices=1 --metadata=1.2 --name=root --uuid=11111111:22222222:33333333:44444401
create 2 "A B C D" /dev/md/stripe $home --level=0 --raid-devices=4 --chunk=64 --metadata=1.2 --name=stripe
create 3 "A B C D" /dev/md/four $fresh $home --level=4 --raid-devices=4 --chunk=64 --metadata=1.1 --name=four
create 4 "A B C D" /dev/md/five $mapped $home --level=5 --layout=ls --raid-devices=3 --spare-devices=1 --chunk=32 --metadata=1.0 --name=five
create 5 "A B C D" /dev/md/six $mapped --homehost=elsewhere --level=6 --raid-devices=4 --chunk=64 --metadata=1.2 --name=six
create 6 "A B C D" /dev/md9 $fresh $home --level=10 --layout=n2 --raid-devices=4 --chunk=64 --metadata=0.90
create 7 "A B C" /dev/md/ten $fresh --homehost=any --level=10 --layout=f2 --raid-devices=3 --chunk=64 --metadata=1.2 --name=ten
create 8 "A B C" /dev/md/ppl --assume-clean $home --consistency-policy=ppl --level=5 --raid-devices=3 --chunk=64 --metadata=1.2 --name=ppl
create 9 "A B C" /dev/md/journal $home --level=5 --raid-devices=3 --chunk=64 --metadata=1.2 --name=journal --write-journal=${D}9
create 10 "B C" /dev/md21 $mapped --homehost=elsewhere --level=1 --raid-devices=2 --metadata=0.90
create 11 "A C D" /dev/md/linear $home --level=linear --raid-devices=3 --metadata=1.2 --name=linear
create 12 "A B" /dev/md/7 $fresh $home --level=1 --raid-devices=2 --metadata=1.2 --name=7
create 13 "A B C" /dev/md/offset $fresh $home --level=10 --layout=o2 --raid-devices=3 --chunk=64 --metadata=1.1 --name=offset
create 14 "A B C D" /dev/md/grown $fresh $home --level=5 --raid-devices=3 --spare-devices=1 --chunk=64 --metadata=1.2 --name=grown
mdadm --wait /dev/md/journal || true
fill /dev/md/root
# Another root, on an array that a missing disk leaves degraded.
PLAIN_UUID=2a1f0d7c-3c55-4c0f-8d6e-5b1c7d9e0004 fill /dev/md/four
# A reshape that is interrupted.
grown=$(readlink -f /dev/md/grown)
echo 1 >/sys/block/${grown##*/}/md/sync_speed_min
echo 4 >/sys/block/${grown##*/}/md/sync_speed_max
mdadm --grow /dev/md/grown --raid-devices=4
sleep 3
mdadm --stop /dev/md/grown
stop_all
examine
copies
assemble loop0 loop1 loop2 loop3
dump whole
# What is named is waited for.
named=$(for array in /dev/md[0-9]*; do mdadm --detail --export "$array" | sed -n 's/^MD_UUID=/rd.md.uuid=/p'; done | sort -u)
cat /proc/mdstat
stop_all
copies
assemble loop0 loop1 loop2
# What a user, or mdadm-last-resort@.timer, does when the wait is over.
for array in /dev/md*; do if [ -b "$array" ]; then mdadm --run "$array" || true; fi; done
dump incomplete
cat /proc/mdstat
used /dev/md/four
wrote incomplete A /tmp/disk0 /tmp/copy0 >>/tmp/dump
wrote incomplete B /tmp/disk1 /tmp/copy1 >>/tmp/dump
wrote incomplete C /tmp/disk2 /tmp/copy2 >>/tmp/dump
# The root alone, without its first member: the spare takes its place.
copies
mdadm --incremental /dev/loop1p1
mdadm --incremental /dev/loop2p1
mdadm --run /dev/md/root || mdadm --run /dev/md127
used /dev/md/root
wrote at-once B /tmp/disk1 /tmp/copy1 >>/tmp/dump
wrote at-once C /tmp/disk2 /tmp/copy2 >>/tmp/dump
echo NAMED=$named >>/tmp/dump
dd if=/tmp/dump of=$DUMP bs=64K conv=notrunc status=none
