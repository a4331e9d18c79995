# What the disks with volumes of many types share.
cat >/etc/lvm/lvm.conf <<'CONF'
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 event_activation = 0 }
backup { backup = 0 archive = 0 }
CONF

# What device-mapper and lvm2 show, here and in the booted root; disks are A, B ..
facts() {
    local letter path names='s/^ *//'
    for letter in A B C D E; do
        path=${!letter:-}
        [ -b "$path" ] || continue
        echo "disk $letter $(lsblk -dno MAJ:MIN "$path" | tr -d ' ')"
        names="$names;s#$path(#$letter(#g"
    done
    dmsetup info -c --noheadings --separator ' ' -o major,minor,name,uuid | sed 's/^/info /'
    dmsetup table | sed 's/^/table /'
    local plain='--noheadings --separator :'
    {
        vgs $plain -o vg_name,vg_uuid,vg_attr,vg_size,vg_free,vg_seqno,pv_count,lv_count,snap_count
        pvs $plain -o pv_uuid,vg_name,pv_attr,pv_size,pv_used,pe_start
        lvs -a $plain -o vg_name,lv_name,lv_uuid,lv_attr,lv_size,segtype,pool_lv,origin,stripes,stripe_size,chunk_size,devices
        lvs -a $plain -o lv_name,lv_kernel_read_ahead,lv_health_status,cache_mode,kernel_cache_policy,thin_count
    } | sed "$names" | sort | sed 's/^/lvm2 /'
}

# Puts into a root what its checker runs: facts, and what an administrator does after that.
own() { # commands
    # What the real root finds active was made before it ran. On an emulated CPU dmeventd's answers come too late for
    # the lvm2 of Debian 12, which then takes its own service for failed.
    echo 'activation { auto_activation_volume_list = [] monitoring = 0 }' >/new/etc/lvm/lvmlocal.conf
    echo "$(findmnt -no SOURCE /new) / ext4 defaults 0 1" >/new/etc/fstab
    {
        echo 'A=/dev/vda B=/dev/vdb C=/dev/vdc D=/dev/vdd E=/dev/vde'
        declare -f facts
        echo 'udevadm settle; facts'
    } >/new/facts
    echo 'bash /facts' >/new/etc/rootward-commands
    if [ -e live ]; then
        cp live /new/live
        echo 'bash /live' >>/new/etc/rootward-commands
    fi
}

# The dump, taken with the root in use as it will be, and an end.
dump() { # group, root
    mount "$2" /new
    facts >/tmp/dump
    umount /new
    cat /tmp/dump >$DUMP
    cat /tmp/dump
    vgchange -q -an "$1" || { sleep 3; vgchange -an "$1"; }
}
