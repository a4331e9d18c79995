pvs sn 5 128
lvcreate -q -Wn -l 16 -n one sn
lvcreate -q -s -l 4 -n one_s sn/one
lvcreate -q -Wn -i 2 -l 16 -n two sn
lvcreate -q -s -l 4 -c 64k -n two_a sn/two
lvcreate -q -s -l 4 -pr -n two_b sn/two
lvcreate -q -s -i 2 -l 4 -n two_c sn/two
lvcreate -q -Wn --type raid1 -m 1 -l 8 -n raid sn
lvcreate -q -s -l 4 -n raid_s sn/raid
lvcreate -q -Wn -pr -l 8 -n ro sn
lvcreate -q -s -l 4 -n ro_s sn/ro
lvcreate -q --type snapshot -V 256m -L 8m -n virtual sn
lvcreate -q -Wn -l 16 -r 1024 -n ra sn
lvcreate -q -s -l 4 -n ra_s sn/ra
lvcreate -q -Wn -l 4 -n alone sn
dump sn
pvs sm 3 128
lvcreate -q -Wn -l 16 -n base sm
lvcreate -q -s -l 4 -n back sm/base
lvcreate -q -s -l 4 -n other sm/base
exec 9</dev/sm/base
lvconvert -q --merge sm/back || true
exec 9<&-
lvs -a sm
dump sm
