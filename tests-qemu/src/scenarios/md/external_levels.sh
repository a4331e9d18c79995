# A container over four disks with volumes of several levels, the root on LEVEL; its format is FORMAT, its disks are NODEa,
# NODEb .. where it is booted. mdadm takes the names of the builder's nodes for Intel's serial numbers.
names() {
    local disk new=abcd at=0 program=
    for disk in $DISKS; do
        program+="s/${disk##*/}/NODE${new:$at:1}/g;"
        at=$((at + 1))
    done
    sed "$program s/NODE/$NODE/g"
}
export IMSM_NO_PLATFORM=1 IMSM_DEVNAME_AS_SERIAL=1
echo $DISKS
modprobe -a md-mod raid0 raid1 raid10 raid456
# Another host's, as far as DDF can say that: names end in _0.
mdadm --create /dev/md/box --run --homehost=elsewhere --metadata=$FORMAT --raid-devices=4 $DISKS
volume() { # name, size of each member in KiB, arguments
    local name=$1 size=$2
    shift 2
    mdadm --create "/dev/md/$name" --run --raid-devices=4 --chunk=64 --size=$size "$@" /dev/md/box
}
clean=
if [ $LEVEL != 0 ]; then clean=--assume-clean; fi
volume root 49152 --level=$LEVEL $clean
volume ten 8192 --level=10 --assume-clean
# Intel's hold two volumes at most.
if [ $FORMAT = ddf ]; then volume stripe 8192 --level=0; fi
cat /proc/mdstat
fill /dev/md/root
sync
mdadm --wait-clean --scan || true
stop_all
for disk in $DISKS; do mdadm --incremental "$disk" || true; done
cat /proc/mdstat
dump whole
cat /tmp/dump
stop_all
dd if=/tmp/dump of=$DUMP bs=64K conv=notrunc status=none
