pvs mv 3 128
lvcreate -q -Wn -l 8 -n whole mv /dev/loop0
lvcreate -q -Wn -l 4 -n first mv /dev/loop0
lvcreate -q -Wn -l 4 -n other mv /dev/loop0
lvextend -q -l +6 mv/first /dev/loop0
lvextend -q -l +4 mv/whole /dev/loop1
lvcreate -q -Wn -l 4 -n still mv /dev/loop2
# A move that was cut short: nobody is left to finish it.
pvmove -i 1000 /dev/loop0 /dev/loop2 >/tmp/pvmove.log 2>&1 &
mover=$!
sleep 6
kill -9 $mover
wait $mover
lvs -a mv
dump mv whole first other still
