# A root behind VDO, whose size vdoformat chooses: it ends within an extent.
modprobe dm-vdo
vgcreate -q -s 4m sys $A
lvcreate -q -y -Wn --type vdo -L 4g --vdosettings 'slab_size_mb=128 max_discard=4096' -n root sys/pool
fill /dev/sys/root own
dump sys /dev/sys/root
