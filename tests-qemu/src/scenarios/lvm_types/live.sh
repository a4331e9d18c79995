# What an administrator does on the live system with volumes that the initramfs has activated.
exec 2>&1
set -ex
vgck all
vgs all
state() { lvs --noheadings -o lv_name,lv_active $plain | sort; }
# Of the ten layouts of RAID 5 and 6, which differ in a word of their tables, one of each level: the emulator is slow.
plain='all/linear all/striped all/a-b--c all/r0 all/r0m all/r1 all/r1mostly all/r4 all/r5 all/r_raid6_zr all/r10 all/guarded
    all/mirror all/logged all/zeros all/origin all/cached all/vcached all/wcached all/snap all/external'
before=$(state)
tables=$(dmsetup table | cut -d ' ' -f 1-4 | sort)
lvchange -y -an $plain
[ $(lvs --noheadings -o lv_name -S 'lv_active!=active' $plain | wc -l) = $(wc -w <<<"$plain") ]
# -K: snapshots of the pool are made to be skipped.
lvchange -y -K -ay $plain
[ "$(state)" = "$before" ]
[ "$(dmsetup table | cut -d ' ' -f 1-4 | sort)" = "$tables" ]
lvconvert -y --type raid1 -m 1 all/linear
lvconvert -y -m 1 all/r1
lvconvert -y --type raid1 all/mirror
lvconvert -y --merge all/old1
lvconvert -y --splitcache all/cached
lvconvert -y --uncache all/vcached
lvconvert -y --uncache all/wcached
lvconvert -y --raidintegrity n all/guarded
lvextend -y -l +2 all/r5
lvcreate -y -V 8m -n more --thinpool all/pool
lvcreate -y -s -n again all/root
lvchange --syncaction check all/r_raid6_zr
vgck all
lvs -a all
echo all well
