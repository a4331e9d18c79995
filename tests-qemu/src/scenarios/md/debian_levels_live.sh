# What an administrator does on the live system: a member of every redundant array fails, is removed and comes back.
exec 2>&1
set -ex
echo 1000000 >/proc/sys/dev/raid/speed_limit_min
array_of() { # partition
    local holder=$(echo /sys/class/block/$1/holders/md*)
    echo /dev/${holder##*/}
}
whole() {
    local try
    for try in {1..60}; do
        mdadm --wait $1 || sleep 1
        [ $(cat /sys/block/${1##*/}/md/degraded) != 0 ] || return 0
    done
    cat /proc/mdstat
    return 1
}
for part in 1 3 4 5 6 7; do
    array=$(array_of vda$part)
    mdadm --manage $array --fail /dev/vda$part
    # It may still be in use for a moment, and a spare steps in where there is one.
    for try in {1..20}; do
        if mdadm --manage $array --remove /dev/vda$part; then break; fi
        sleep 0.5
    done
    mdadm --manage $array --add /dev/vda$part
    whole $array
    mdadm --detail --test $array
done
for part in 2 8; do
    if [ -e /sys/class/block/vda$part/holders ] && ls /sys/class/block/vda$part/holders | grep md; then
        array=$(array_of vda$part)
        mdadm --readonly $array
        mdadm --readwrite $array
        mdadm --detail --test $array
    fi
done
cat /proc/mdstat
echo all well
