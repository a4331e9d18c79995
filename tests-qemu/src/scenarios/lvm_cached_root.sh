# The root is a cache whose origin is RAID 1; a neighbour that nobody asked for stays down.
for module in dm-raid raid1 dm-cache dm-cache-smq; do modprobe -q "$module" || true; done
cat >/etc/lvm/lvm.conf <<'CONF'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 }
backup { backup = 0 archive = 0 }
CONF
vgcreate -q -s 1m sys $A $B $C $D
lvcreate -q -y -Wn --type raid1 -m 1 --nosync -L 400m -n root sys $A $B
lvcreate -q -y --type cache-pool -L 64m --poolmetadatasize 8m -n fast sys $C
lvconvert -q -y --type cache --cachemode writeback --cachepool sys/fast sys/root
only_ours() {
    # What the real root finds active was made before it ran.
    echo 'activation { auto_activation_volume_list = [] }' >/new/etc/lvm/lvmlocal.conf
    echo '/dev/sys/root / ext4 defaults 0 1' >/new/etc/fstab
}
fill /dev/sys/root only_ours
lvcreate -q -y -Wn -L 16m -n other sys
vgchange -q -an sys
lvchange -q -y -ay sys/root
{
    for disk in A B C D; do echo "disk $disk $(lsblk -dno MAJ:MIN ${!disk} | tr -d ' ')"; done
    dmsetup info -c --noheadings --separator ' ' -o major,minor,name,uuid | sed 's/^/info /'
    dmsetup table | sed 's/^/table /'
} >/tmp/dump
cat /tmp/dump >$DUMP
grep -c . /tmp/dump
vgchange -q -an sys
