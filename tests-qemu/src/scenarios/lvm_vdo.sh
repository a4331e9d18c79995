# A root behind VDO.
modprobe dm-vdo
cat >/etc/lvm/lvm.conf <<'CONF'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 }
backup { backup = 0 archive = 0 }
CONF
vgcreate -q -s 4m sys $A
lvcreate -q -y -Wn --type vdo -L 4g -V 640m --vdosettings 'slab_size_mb=128 max_discard=4096' -n root sys/pool
only_ours() {
    # What the real root finds active was made before it ran.
    echo 'activation { auto_activation_volume_list = [] }' >/new/etc/lvm/lvmlocal.conf
    echo '/dev/sys/root / ext4 defaults 0 1' >/new/etc/fstab
}
fill /dev/sys/root only_ours
{
    echo "disk A $(lsblk -dno MAJ:MIN $A | tr -d ' ')"
    dmsetup info -c --noheadings --separator ' ' -o major,minor,name,uuid | sed 's/^/info /'
    dmsetup table | sed 's/^/table /'
} >/tmp/dump
cat /tmp/dump >$DUMP
cat /tmp/dump
vgchange -q -an sys
