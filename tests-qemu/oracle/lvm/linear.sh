pvs lin 4 64
lvcreate -q -Wn -l 8 -n plain lin
lvcreate -q -Wn -l 8 -n pieces lin /dev/loop0
lvcreate -q -Wn -l 2 -n gap lin /dev/loop0
lvextend -q -l +4 lin/pieces /dev/loop0
lvextend -q -l +4 lin/pieces /dev/loop1
lvcreate -q -Wn -i 2 -I 64 -l 8 -n two lin
lvcreate -q -Wn -i 3 -I 4 -l 9 -n three lin
lvcreate -q -Wn -i 4 -I 512 -l 8 -n four lin
lvextend -q -i 2 -I 32 -l +4 lin/two
lvextend -q -i 1 -I 64 -l +3 lin/two
lvcreate -q -Wn -l 4 -n a-b--c lin
lvcreate -q -Wn -l 4 -n ra128 -r 128 lin
lvcreate -q -Wn -l 4 -n ra8192 -r 8192 lin
lvcreate -q -Wn -l 4 -n ranone -r none lin
lvcreate -q -Wn -i 2 -I 512 -l 4 -n ranone2 -r none lin
lvcreate -q -l 4 --type zero -n zeros lin
lvcreate -q -l 4 --type error -n errors lin
lvcreate -q -Wn -l 4 -n readonly -pr lin
lvcreate -q -Wn -l 4 -n minor -My --major 253 --minor 42 lin
lvcreate -q -Wn -l 2 -n skipped -ky lin
lvcreate -q -Wn -l 2 -n tagged --addtag boot lin
lvcreate -q -Wn -l 2 -n sparse0 lin
dump lin
pvs my-vg 2 32
lvcreate -q -Wn -l 8 -n ro-ot my-vg
dump my-vg
