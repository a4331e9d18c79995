# One group with a volume of every segment type; the root is a thin volume of a pool on RAID 1.
for module in dm-raid raid0 raid1 raid10 raid456 dm-thin-pool dm-cache dm-cache-smq dm-writecache dm-integrity \
    dm-snapshot dm-mirror dm-zero crc32c_generic; do
    modprobe -q "$module" || true
done
make() { lvcreate -q -y -Wn "$@"; }
settle() {
    for try in $(seq 1 400); do
        lvs --noheadings -a -o sync_percent -S 'segtype=~"^raid" || segtype=mirror' all | grep -v '100.00' | grep '[^ ]' >/dev/null ||
            return 0
        sleep 1
    done
}
vgcreate -q -s 1m all $A $B $C $D $E
make --type raid1 -m 1 --nosync -L 420m -n pool all $A $B
make --type raid1 -m 1 --nosync -L 8m -n poolmeta all $A $B
lvconvert -q -y --type thin-pool --poolmetadata all/poolmeta all/pool
lvcreate -q -V 440m -n root all/pool
fill /dev/all/root own
# Where there is room beside them for what they are converted to later.
make -l 4 -n linear all $D
lvchange -q -y -My --minor 77 all/linear
make -i 3 -I 32 -l 6 -n striped all
make -l 2 -n a-b--c all
make --type raid0 -i 2 -l 4 -n r0 all
make --type raid0_meta -i 2 -l 4 -n r0m all
make --type raid1 -m 2 -l 4 -n r1 all $C $D $E
make --type raid1 -m 1 -l 4 -n r1mostly all $A $B
settle
lvchange -q --writemostly $B --writebehind 100 all/r1mostly
make --type raid4 -i 2 -l 4 -n r4 all
make --type raid5 -i 2 -l 4 -n r5 all $C $D $E
for layout in raid5_la raid5_ra raid5_rs raid5_n raid6_zr raid6_nr raid6_nc raid6_la_6 raid6_ls_6 raid6_n_6; do
    make --type $layout -i 3 -l 3 -n r_$layout all
done
make --type raid10 -m 1 -i 2 -l 4 -n r10 all
make --type raid1 -m 1 --raidintegrity y -l 4 -n guarded all
make --type mirror -m 1 --mirrorlog core -l 4 -n mirror all $D $E
make --type mirror -m 1 --mirrorlog disk -l 4 -n logged all
make --type zero -l 4 -n zeros all
lvcreate -q -s -kn -n snap all/root
make -l 8 -n outer all
lvchange -q -an all/outer
lvchange -q -pr all/outer
lvcreate -q -s -kn --thinpool all/pool -n external all/outer
make -l 8 -n origin all
lvcreate -q -s -l 4 -n old1 all/origin
lvcreate -q -s -l 4 -c 64k -n old2 all/origin
make -l 16 -n cached all
lvcreate -q -y --type cache-pool -l 8 --poolmetadatasize 4m -n fast all
lvconvert -q -y --type cache --cachemode writeback --cachepool all/fast all/cached
make -l 16 -n vcached all
make -l 8 -n vfast all
lvconvert -q -y --type cache --cachevol all/vfast all/vcached
make -l 16 -n wcached all
make -l 8 -n wfast all
lvchange -q -an all/wfast
lvconvert -q -y --type writecache --cachevol all/wfast all/wcached
settle
make -l 16 -n moved all $C
# A move that was interrupted before its first look at the progress.
pvmove -q -i +1000 -b -n moved $C $E
sleep 1
pkill -f pvmove || true
lvs -a --noheadings -o lv_name,lv_attr all | grep pvmove0
vgchange -q -an all || { sleep 3; vgchange -an all; }
vgchange -q -ay --poll n --config activation/monitoring=1 --ignoremonitoring all
dump all /dev/all/root
