pvs in 6 128
lvcreate -q -Wn --type raid1 -m 1 --raidintegrity y -l 8 -n r1 in
lvcreate -q -Wn --type raid1 -m 1 --raidintegrity y --raidintegrityblocksize 4096 --raidintegritymode bitmap -l 8 -n r1bitmap in
lvcreate -q -Wn --type raid5 -i 2 --raidintegrity y -l 8 -n r5 in
lvcreate -q -Wn --type raid10 -m 1 -i 2 --raidintegrity y -l 8 -n r10 in
lvcreate -q -Wn --type raid6 -i 3 --raidintegrity y -l 9 -n r6 in
settle in
dump in
