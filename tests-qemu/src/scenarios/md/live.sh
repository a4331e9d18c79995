# What an administrator does on the live system: puts the missing half of the root's mirror back, then changes the other.
exec 2>&1
set -ex
activations() { journalctl -b --no-pager -o cat | grep -c '^Started lvm-activate-server' || true; }
whole() {
    # Nothing to wait for is status 1, be it because all is done or because nothing has begun yet.
    local try
    for try in {1..60}; do
        mdadm --wait $array || sleep 1
        [ $(cat /sys/block/md127/md/degraded) != 0 ] || return 0
    done
    cat /proc/mdstat
    return 1
}
array=$(readlink -e /dev/md/*root)
[ $array = /dev/md127 ]
before=$(activations)
echo 1000000 >/proc/sys/dev/raid/speed_limit_min
mdadm --manage $array --add /dev/vdb1
whole
mdadm --manage $array --fail /dev/vda1
mdadm --detail $array | grep 'faulty.* /dev/vda1$'
mdadm --manage $array --remove /dev/vda1
mdadm --detail $array | grep 'State : .*degraded'
mdadm --manage $array --add /dev/vda1
whole
udevadm settle
echo 'what is on the mirror has not noticed'
echo written >/home/file
sync
vgck server
[ $(activations) = $before ]
udevadm info --query=property /dev/md127 | grep LVM_MD_PV_ACTIVATED=1
cat /proc/mdstat
mdadm --detail $array
echo "activated $before times"
echo all well
