pvs th 6 256
lvcreate -q --type thin-pool -L 32m --poolmetadatasize 4m -n pool th
lvcreate -q -V 64m -n thin1 th/pool
lvcreate -q -V 100m -n thin2 th/pool
lvcreate -q -s -kn -n snap1 th/thin1
lvcreate -q -s -n snap2 th/snap1
lvcreate -q -V 16m -r 512 -pr -n thinro th/pool || { lvcreate -q -V 16m -n thinro th/pool; lvchange -q -pr th/thinro; }
lvcreate -q --type thin-pool -L 32m --poolmetadatasize 4m -c 128k --discards ignore -Zn -n pool2 th
lvchange -q --errorwhenfull y th/pool2
lvcreate -q -V 64m -n p2thin th/pool2
lvcreate -q --type thin-pool -L 32m -c 512k --discards nopassdown -n pool3 th
lvcreate -q -V 64m -n p3thin th/pool3
lvcreate -q -l 16 -Wn -n outer th
lvchange -q -an th/outer; lvchange -q -pr th/outer
lvcreate -q -s --thinpool th/pool -n external th/outer
lvcreate -q -s -n external2 th/external
lvcreate -q --type thin-pool -L 32m -i 2 -I 64 --poolmetadatasize 4m -n pool4 th
lvcreate -q -V 64m -n p4thin th/pool4
lvcreate -q --type thin-pool -L 32m --poolmetadatasize 4m -n unused th
lvcreate -q -s -L 8m -n oldsnap th/thin2
lvcreate -q -Wn --type raid1 -m 1 -L 32m -n pool5 th
lvcreate -q -Wn --type raid1 -m 1 -L 4m -n pool5meta th
settle th
lvconvert -q -y --type thin-pool --poolmetadata th/pool5meta th/pool5
lvcreate -q -V 64m -n p5thin th/pool5
dump th
superblock th pool_tmeta
pvs tm 2 128
lvcreate -q --type thin-pool -L 32m --poolmetadatasize 4m -n pool tm
lvcreate -q -V 64m -n base tm/pool
lvcreate -q -s -kn -n back tm/base
exec 9</dev/tm/base
lvconvert -q --merge tm/back || true
exec 9<&-
lvs -a tm
dump tm
