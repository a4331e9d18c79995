# Runs in the builder VM before a group's own script: physical volumes are loop devices over sparse files, so that a
# group may have many of them, and every group starts from nothing.
set +ex
trap 'echo "FAILED line $LINENO: $BASH_COMMAND"' ERR
for module in dm-mod dm-raid raid0 raid1 raid10 raid456 dm-thin-pool dm-cache dm-cache-smq dm-writecache dm-integrity \
    dm-snapshot dm-mirror dm-zero dm-vdo kvdo crc32c_generic crc32c sha256 cpuid; do
    modprobe -q "$module" || true
done
cat >/etc/lvm/lvm.conf <<'CONF'
devices { use_devicesfile = 0 obtain_device_list_from_udev = 0 }
activation { udev_sync = 0 udev_rules = 0 verify_udev_operations = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 }
backup { backup = 0 archive = 0 }
log { debug_classes = [ "memory", "devices", "io", "activation", "allocation", "metadata", "cache", "locking" ] }
CONF
STATE=/tmp/state
mkdir -p $STATE /tmp/pv
lvm version 2>&1 | head -1
dmsetup targets | tr -s ' ' | tr '\n' ';'

# pvs VG COUNT MIB [vgcreate options]: COUNT loop devices of MIB each as VG with extents of 1 MiB.
pvs() {
    vg=$1 count=$2 size=$3; shift 3
    devices=()
    for number in $(seq 1 "$count"); do
        truncate -s "${size}M" "/tmp/pv/$vg$number"
        devices+=("$(losetup -f --show "/tmp/pv/$vg$number")")
    done
    vgcreate -q -s 1m "$@" "$vg" "${devices[@]}"
}

metadata() { vgcfgbackup -q -f /tmp/metadata.txt "$1" >&2; sed -e '/^creation_host/d' -e '/^creation_time/d' -e '/^description/d' \
    -e '/^#/d' -e 's/^\(\t*creation_\)\(host\|time\) = .*//' -e '/^$/d' -e 's/\t*# .*$//' /tmp/metadata.txt; }

# Lets synchronisations end: their outcome is in the superblocks, and a table does not depend on it.
settle() {
    for try in $(seq 1 60); do
        lvs --noheadings -a -o sync_percent -S 'segtype=~"^raid" || segtype=mirror' "$1" | tr -d ' ' | grep -v '^100.00$' | grep -q . || return 0
        sleep 0.5
    done
}

deactivate() { lvchange -q -an "$1" || vgchange -q -an "$1" || { sleep 2; vgchange -an "$1"; }; }

# one VG LV [options]: what lvm2 does to activate one LV of an inactive VG.
one() {
    vg=$1 lv=$2; shift 2
    echo "== $vg/$lv $*"
    if lvm lvchange -vvvv -y -ay -K --poll n --config activation/monitoring=1 --ignoremonitoring "$@" "$vg/$lv" 2>/tmp/trace; then
        grep -oE '(dm (create|resume|reload|suspend) .*|Adding target to .*|[^ ]+( \([0-9:]+\))?: (retaining kernel read|Setting read) ahead.*)' /tmp/trace | sed 's/^/trace /'
        dmsetup info -c --noheadings --separator '|' -o minor,major,name,uuid,attr | sort -n | while IFS='|' read -r minor major name uuid attr; do
            echo "device $major:$minor $name $uuid $attr ra=$(blockdev --getra "/dev/mapper/$name") ro=$(blockdev --getro "/dev/mapper/$name")"
            dmsetup table "$name" | sed 's/^/table /'
        done
    else
        echo "refused $(grep -vE '^[0-9:.]* *lvchange|^ *[a-z_]+\.c' /tmp/trace | tail -3 | tr '\n' ' ')"
    fi
    deactivate "$vg"
}

# dump VG [LV...]: metadata, PVs, then every visible LV (or those named).
dump() {
    vg=$1; shift
    settle "$vg"
    vgchange -q -an "$vg" || { sleep 2; vgchange -an "$vg"; }
    out=$STATE/${name:-$vg}
    metadata "$vg" >"$out.metadata"
    {
        pvs_of "$vg"
        if [ $# = 0 ]; then set -- $(lvs --noheadings -o lv_name "$vg"); fi
        for lv in "$@"; do one "$vg" "$lv" ${options:-}; done
    } >"$out.expected"
    metadata "$vg" >/tmp/after
    if ! cmp -s "$out.metadata" /tmp/after; then
        echo "note: activation changed the metadata of $vg"; diff "$out.metadata" /tmp/after || true
    fi
    grep -c . "$out.expected"; grep refused "$out.expected"
}

pvs_of() {
    command pvs --noheadings -o pv_uuid,pv_name --select "vg_name=$1" | while read -r uuid device; do
        echo "pv ${uuid//-/} $([ -e "$device" ] && lsblk -dno MAJ:MIN "$device" | tr -d ' ' || echo missing)"
    done
}

# superblock VG LV: the first block of a pool's metadata.
superblock() {
    lvchange -q -y -ay "$1/$2"
    head -c 4096 "/dev/mapper/$1-$2" >"$STATE/$2.superblock"
    lvchange -q -an "$1/$2"
}
