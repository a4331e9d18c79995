pvs wc 6 128
lvcreate -q -Wn -l 32 -n plain wc
lvcreate -q -Wn -l 8 -n fast wc
lvchange -q -an wc/fast
lvconvert -q -y --type writecache --cachevol wc/fast wc/plain
lvcreate -q -Wn -l 32 -n tuned wc
lvcreate -q -Wn -l 8 -n fast2 wc
lvchange -q -an wc/fast2 wc/tuned
lvconvert -q -y --type writecache --cachesettings 'high_watermark=60 low_watermark=30 writeback_jobs=1024 block_size=512 max_age=5000 autocommit_time=2000' --cachevol wc/fast2 wc/tuned || \
lvconvert -q -y --type writecache --cachesettings 'high_watermark=60 low_watermark=30 writeback_jobs=1024' --cachevol wc/fast2 wc/tuned
lvcreate -q -Wn --type raid1 -m 1 -l 16 -n raid wc
lvcreate -q -Wn -l 8 -n fast3 wc
settle wc
lvchange -q -an wc/fast3
lvconvert -q -y --type writecache --cachevol wc/fast3 wc/raid
dump wc
