pvs rd 8 64
lvcreate -q -Wn --type raid0 -i 2 -I 64 -l 4 -n r0 rd
lvcreate -q -Wn --type raid0_meta -i 3 -l 6 -n r0m rd
lvcreate -q -Wn --type raid1 -m 1 -l 4 -n r1 rd
lvcreate -q -Wn --type raid1 -m 2 -R 1m -l 4 -n r1three rd
lvcreate -q -Wn --type raid1 -m 1 --nosync -l 4 -n r1nosync rd
lvcreate -q -Wn --type raid1 -m 1 --minrecoveryrate 100 --maxrecoveryrate 200 -l 4 -n r1rate rd
lvcreate -q -Wn --type raid1 -m 1 -l 4 -n r1write rd
settle rd
lvchange -q --writemostly /dev/loop1 rd/r1write || lvchange -q --writemostly $(lvs --noheadings -o devices -a rd/r1write_rimage_1 | sed 's/(.*//') rd/r1write
lvchange -q --writebehind 256 rd/r1write
lvcreate -q -Wn --type raid4 -i 2 -l 4 -n r4 rd
for kind in la ra ls rs n; do lvcreate -q -Wn --type raid5_$kind -i 3 -l 6 -n r5$kind rd; done
for kind in zr nr nc ls_6 rs_6 la_6 ra_6 n_6; do lvcreate -q -Wn --type raid6_$kind -i 3 -l 3 -n r6$kind rd || true; done
lvcreate -q -Wn --type raid10 -m 1 -i 2 -l 4 -n r10 rd
lvcreate -q -Wn --type raid10 -m 1 -i 3 -I 32 -l 6 -n r10six rd
lvcreate -q -Wn --type raid1 -m 1 -l 4 -n r1big rd
lvcreate -q -Wn --type raid5 -i 2 -l 4 -n r5big rd
settle rd
lvextend -q -l +4 rd/r1big
lvextend -q -l +4 rd/r5big
lvcreate -q -Wn --type raid1 -m 1 -pr -l 4 -n r1ro rd
lvcreate -q -Wn --type raid5 -i 3 -r 512 -l 3 -n r5ahead rd
dump rd
vgchange -an rd
# The same group with one PV gone.
losetup -d /dev/loop2
name=rd-degraded options="--activationmode degraded" dump rd
