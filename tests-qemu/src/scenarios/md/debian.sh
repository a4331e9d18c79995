# A Debian root on a volume of a group whose only PV is a mirror, and /home on another; the mirror's other half was taken
# out. `facts` runs here and on the live system: what lvm2 and mdadm say, without what differs between machines.
facts() {
    note /dev/md127
    {
        pvs --noheadings --separator ' ' -o pv_name,pv_uuid,vg_name,pv_attr,pv_size,pv_free,dev_size,pe_start
        vgs --noheadings --separator ' ' -o vg_name,vg_uuid,vg_attr,vg_size,vg_free,vg_seqno,pv_count,lv_count
        lvs --noheadings --separator ' ' -o lv_name,lv_uuid,lv_attr,lv_size
    } | sed 's/^ */lvm2 /; s#/dev/md/[^ ]*#/dev/md127#'
    sed 's/^/map /' /run/mdadm/map
    # An array that is written to is active. Members are told by number, slot and state.
    mdadm --detail /dev/md127 | sed -n '
        /Update Time :/d; /Events :/d; s/State : active/State : clean/; s/ *(local to host .*//
        s/^ *\([0-9-]*\) *[0-9]* *[0-9]* *\([0-9-]*\) *\([a-z ]*[a-z]\)\( *\/dev\/.*\)\{0,1\}$/member \1 slot \2 \3/
        s/^  *\(.* : .*\)/mdadm \1/
        /^member /p; /^mdadm /p'
}
partitions 1180M
create 1 "A B" /dev/md/root --assume-clean --bitmap=internal --level=1 --raid-devices=2 --metadata=1.2 --homehost=rootward-test --name=root --uuid=11111111:22222222:33333333:44444401
mdadm /dev/md/root --fail ${B}1 --remove ${B}1
mdadm --zero-superblock ${B}1
vgcreate server /dev/md127
lvcreate -y -Wn -n root -L 1100M server
lvcreate -y -Wn -n home -L 16M server
mke2fs -q -t ext4 /dev/server/home
after() {
    echo '/dev/mapper/server-root / ext4 defaults 0 1' >/new/etc/fstab
    echo '/dev/mapper/server-home /home ext4 defaults 0 2' >>/new/etc/fstab
    { declare -f note facts; echo facts; } >/new/facts
    cp live /new/live
    printf 'bash /facts\nmdadm --detail /dev/md127\nbash /live\n' >/new/etc/rootward-commands
}
fill /dev/server/root after
vgchange -an server
stop_all
# As an initramfs would start it; volumes in use, as in the booted system.
mdadm --incremental ${A}1
vgchange -ay server
mount /dev/server/root /new
mount /dev/server/home /new/home
facts >/tmp/dump
cat /tmp/dump
dd if=/tmp/dump of=$DUMP bs=64K conv=notrunc status=none
umount /new/home /new
vgchange -an server
stop_all
