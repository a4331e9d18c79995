# The root is a cache whose origin is RAID 1; a neighbour that nobody asked for stays down.
for module in dm-raid raid1 dm-cache dm-cache-smq; do modprobe -q "$module" || true; done
vgcreate -q -s 1m sys $A $B $C $D
lvcreate -q -y -Wn --type raid1 -m 1 --nosync -L 400m -n root sys $A $B
lvcreate -q -y --type cache-pool -L 64m --poolmetadatasize 8m -n fast sys $C
lvconvert -q -y --type cache --cachemode writeback --cachepool sys/fast sys/root
fill /dev/sys/root own
lvcreate -q -y -Wn -L 16m -n other sys
vgchange -q -an sys
lvchange -q -y -ay sys/root
dump sys /dev/sys/root
