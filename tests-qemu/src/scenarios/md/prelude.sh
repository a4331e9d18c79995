# What all disks with MD arrays share. Disks A to D carry the same partitions; the members of one array are partitions of
# one number, so that a disk that is left out makes every array incomplete at once.
#
# The builder runs no udev: nodes of partitions are the kernel's own, and mdadm makes its links itself. In the dump the
# disks have the names that they get in a scenario.

DISKS="$A $B ${C:-} ${D:-}"

partitions() { # sizes
    local disk
    for disk in $DISKS; do
        printf 'label: gpt\n' >/tmp/table
        printf 'size=%s\n' "$@" >>/tmp/table
        sfdisk --quiet "$disk" </tmp/table
    done
    PARTS=$#
}

create() { # partition, letters of the disks, device, arguments
    local part=$1 letters=$2 name=$3 members=() letter
    shift 3
    for letter in $letters; do members+=("${!letter}$part"); done
    mdadm --create "$name" --run "$@" "${members[@]}"
}

stop_all() {
    local array
    sync
    for array in /sys/block/md*; do
        [ -e "$array" ] || continue
        mdadm --stop "/dev/${array##*/}"
    done
    rm -rf /dev/md /run/mdadm/map
}

assemble() { # names of copies
    local disk part
    for part in $(seq 1 $PARTS); do
        for disk in "$@"; do
            mdadm --incremental "/dev/${disk}p$part" || true
        done
    done
}

dump() { # title
    local array
    {
        echo "== $1"
        sed 's/^/map /' /run/mdadm/map
        for array in /sys/block/md*; do
            # One process for all attributes: the emulator is slow. Some answer only in some states.
            (cd "$array" && grep -rs '' md | sed "s/^/${array##*/} /") || true
        done
    } | names >>/tmp/dump
}

examine() { # what the fixtures of the unit tests are made from
    local disk part
    for part in $(seq 1 $PARTS); do
        for disk in $DISKS; do
            echo "== examine ${disk##*/}$part" | names
            mdadm --examine "$disk$part" | names || true
        done
    done >>/tmp/dump
}

names() {
    local disk new=abcd at=0 program=
    for disk in $DISKS; do
        program+="s/${disk##*/}/VD${new:$at:1}/g;"
        at=$((at + 1))
    done
    sed "$program s/VD/vd/g; s/loop0p/vda/g; s/loop1p/vdb/g; s/loop2p/vdc/g; s/loop3p/vdd/g"
}

# Copies of the disks as loop devices L0, L1 .., so that what mdadm does for the dump leaves no trace on the disks.
copies() {
    local disk at=0
    losetup --detach-all
    rm -f /tmp/copy*
    for disk in $DISKS; do
        [ -e "/tmp/disk$at" ] || cp --sparse=always "$disk" "/tmp/disk$at"
        cp --sparse=always "/tmp/disk$at" "/tmp/copy$at"
        losetup --partscan "/dev/loop$at" "/tmp/copy$at"
        at=$((at + 1))
    done
}

set +x
mkdir -p /run/mdadm
mdadm --version
mkdir -p /etc/mdadm
echo 'HOMEHOST probe' | tee /etc/mdadm.conf >/etc/mdadm/mdadm.conf
