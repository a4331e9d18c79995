# A Debian on a mirror, and a small array of every level beside it. `facts` runs here and on the live system: what mdadm
# says, without what differs between machines and moments.
facts() {
    local path
    sed 's/^[^ ]* /map /' /run/mdadm/map | sort
    for path in $(sed 's/.* //' /run/mdadm/map | sort); do
        # An array that is written to is active. Members are told by number, slot and state. The preferred minor of version
        # 0.90 is the one that the array has, which hangs on the order in which arrays were started.
        mdadm --detail "$path" | sed -n '
            /Update Time :/d; /Events :/d; /Preferred Minor :/d; s/State : active/State : clean/; s/ *(local to host .*//
            s/^ *\([0-9-]*\) *[0-9]* *[0-9]* *\([0-9-]*\) *\([a-z ]*[a-z]\)\( *\/dev\/.*\)\{0,1\}$/member \1 slot \2 \3/
            s/^  *\(.* : .*\)/mdadm \1/
            /^member /p; /^mdadm /p' | sed "s#^#${path##*/} #"
    done
}
for disk in $DISKS; do
    {
        printf 'label: gpt\n'
        for part in {1..8}; do printf 'size=16M\n'; done
        case $disk in "$A" | "$B") printf 'size=1120M\n' ;; esac
    } >/tmp/table
    sfdisk --quiet "$disk" </tmp/table
done
home=--homehost=rootward-test id=11111111:22222222:33333333:4444440
fresh="--assume-clean --bitmap=none $home" mapped="--assume-clean --bitmap=internal $home"
create 1 "A B C" /dev/md/one $mapped --level=1 --raid-devices=2 --spare-devices=1 --name=one --uuid=${id}1
create 2 "A B C D" /dev/md/zero $home --level=0 --raid-devices=4 --chunk=64 --name=zero --uuid=${id}2
create 3 "A B C D" /dev/md/four $fresh --level=4 --raid-devices=4 --chunk=64 --metadata=1.1 --name=four --uuid=${id}3
create 4 "A B C D" /dev/md/five $mapped --level=5 --raid-devices=3 --spare-devices=1 --chunk=32 --metadata=1.0 --name=five --uuid=${id}4
create 5 "A B C D" /dev/md/six $mapped --level=6 --raid-devices=4 --chunk=64 --name=six --uuid=${id}5
create 6 "A B C D" /dev/md9 --assume-clean --level=10 --layout=n2 --raid-devices=4 --chunk=64 --metadata=0.90 --uuid=${id}6
create 7 "A B C" /dev/md/ten $fresh --level=10 --layout=f2 --raid-devices=3 --chunk=64 --name=ten --uuid=${id}7
# Linux has no linear level from 6.8 to 6.13.
if modprobe linear; then
    create 8 "A C D" /dev/md/linear $home --level=linear --raid-devices=3 --name=linear --uuid=${id}8
fi
create 9 "A B" /dev/md/root $mapped --level=1 --raid-devices=2 --name=root --uuid=${id}9
after() {
    { declare -f facts; echo facts; } >/new/facts
    cp live /new/live
    printf 'bash /facts\nbash /live\n' >/new/etc/rootward-commands
}
fill /dev/md/root after
stop_all
# As an initramfs starts them.
for part in {1..9}; do
    for disk in $DISKS; do
        if [ -b "$disk$part" ]; then mdadm --incremental "$disk$part" || true; fi
    done
done
mount "$(ls -d /dev/md/*root)" /new
facts >/tmp/dump
cat /tmp/dump
dd if=/tmp/dump of=$DUMP bs=64K conv=notrunc status=none
umount /new
stop_all
