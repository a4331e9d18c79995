# Mirrors that went through accidents.
partitions 64M 16M 16M 16M 16M
mirror="--assume-clean --bitmap=none --level=1 --raid-devices=2 --homehost=probe --metadata=1.2"
five="--assume-clean --bitmap=none --level=5 --raid-devices=3 --chunk=64 --homehost=probe --metadata=1.2"
# 1: the root. B was lost while A went on, and holds what must not be seen again.
create 1 "A B" /dev/md/root $mirror --name=root --uuid=11111111:22222222:33333333:44444401
mke2fs -q -t ext4 -U $PLAIN_UUID -L stale /dev/md/root
mdadm /dev/md/root --fail ${B}1 --remove ${B}1
fill /dev/md/root
# 2: split brain. Each half was started alone and says that the other failed; B has gone farther.
create 2 "A B" /dev/md/split $mirror --name=split
mdadm --stop /dev/md/split
mdadm --assemble --run /dev/md/split ${A}2
echo a | dd of=/dev/md/split bs=4096 conv=fsync status=none
mdadm --stop /dev/md/split
for i in 1 2 3; do
    mdadm --assemble --run /dev/md/split ${B}2
    echo b | dd of=/dev/md/split bs=4096 conv=fsync status=none
    mdadm --stop /dev/md/split
done
# 3: an array with partitions of its own.
create 3 "B C" /dev/md/parted $mirror --name=parted
printf 'label: gpt\nsize=4M, name="on-md"\n' | sfdisk --quiet /dev/md/parted
mdadm --stop /dev/md/parted
# 4: one that the image's mdadm.conf tells to leave alone; 5: one that it names.
create 4 "A B C" /dev/md/ignored $five --name=ignored --uuid=11111111:22222222:33333333:44444404
create 5 "A B C" /dev/md/five $five --name=five --uuid=11111111:22222222:33333333:44444405
stop_all
cat >/etc/mdadm.conf <<END
HOMEHOST probe
ARRAY <ignore> UUID=11111111:22222222:33333333:44444404
ARRAY /dev/md/renamed UUID=11111111:22222222:33333333:44444405
END
examine
copies
# The order in which mdadm comes to the fresher halves first.
mdadm --incremental /dev/loop1p2
assemble loop0 loop1 loop2
cat /proc/mdstat
dump whole
used /dev/md/root
wrote whole A /tmp/disk0 /tmp/copy0 >>/tmp/dump
wrote whole B /tmp/disk1 /tmp/copy1 >>/tmp/dump
wrote whole C /tmp/disk2 /tmp/copy2 >>/tmp/dump
dd if=/tmp/dump of=$DUMP bs=64K conv=notrunc status=none
