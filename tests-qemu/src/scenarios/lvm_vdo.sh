# A root behind VDO. Debian has no vdoformat, so lvm2 is given a stand-in: for one set of arguments it writes the two
# blocks that vdoformat 8.3.1.1 has written for them (the geometry and the super block; all other blocks are zeros).
modprobe dm-vdo
cat >/usr/local/bin/vdoformat <<'FORMAT'
#!/bin/bash
set -eu
[ "${*:1:$#-1}" = "--logical-size=656384K --slab-bits=15" ] || { echo "not recorded: $*"; exit 1; }
[ "$(blockdev --getsize64 "${@: -1}")" = $((4 << 30)) ] || { echo "not recorded: a volume of this size"; exit 1; }
block() { base64 -d | dd of="$device" bs=4096 seek=$1 conv=notrunc status=none; }
device=${@: -1}
block 0 <<'B'
ZG12ZG8wMDEFAAAABQAAAAAAAABlAAAAAAAAAAAAAAButogm92AGAI/KhUhE5Ukqv8dmLJN9yoMAAAAAAAAAAAAAAAABAAAAAAAAAAEAAADYXA
oAAAAAAAD///8AAAAAAAGQ/Bg=
B
block 679128 <<'B'
AAAAAAwAAAAAAAAAogEAAAAAAAAAAAAAQwAAAAAAAAApAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAIECAAAAAAAAABAAAAAAAACAAAAAAA
AAAIAAAAAAAADgAAAAAAAAAG62iCb3YAYAAQAAAAMAAAAAAAAAdQAAAAAAAADAfw8AAAAAAMB/DwAAAAAABAEVXQoAAAAAAAAAAAAAAAAAqyIF
AAAAAAACwH8PAAAAAAAAAAAAAAAAAACAAAAAAAAAA8D/DwAAAAAAAAAAAAAAAABAAAAAAAAAAADZXAoAAAAAAAAAAAAAAAAAPAAAAAAAAAACAA
AABwAAAAAAAAAYAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMAAAACAAAAAAAAAEkAAAAAAAAAAIAAAAAAAAAXfwAAAAAAAAkAAAAA
AAAA4AAAAAAAAACoAAAAAAAAANAAAAAAAAAA3gAAAAAAAAAVXQoAAAAAABVdDwAAAAAAAAQAAAACAAAAAAAAACAAAAAAAAAAAQAAAAAAAAAAAA
AAAAAAANlcCgAAAAAAPAAAAAAAAADOXnEp
B
FORMAT
chmod +x /usr/local/bin/vdoformat
cat >/etc/lvm/lvm.conf <<'CONF'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 vdo_format_executable = "/usr/local/bin/vdoformat" }
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
