package mariadb

import "testing"

func TestWhatProgramsSayIsRead(t *testing.T) {
	if got := parseVersion("mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)"); got != "10.11" {
		t.Errorf("the version is %q", got)
	}
	if got := parseVersion("/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)"); got != "" {
		t.Errorf("MySQL is taken for MariaDB %q", got)
	}
	if got := endOf("[00] MySQL binlog position: filename 'binlog.000006', position '339', GTID of the last change '0-7-2'\n"); got != "binlog.000006:339" {
		t.Errorf("it ends at %q", got)
	}
	if at, err := parsePosition("binlog.000006\t339\t0-7-2\n"); err != nil || at.file != "binlog.000006" || at.at != 339 || at.gtid != "0-7-2" {
		t.Errorf("the position is %+v, %v", at, err)
	}
	if at, err := parsePosition("binlog.000006\t339\t\n"); err != nil || at.gtid != "" {
		t.Errorf("the position is %+v, %v", at, err)
	}
	for _, text := range []string{"", "binlog.000006", "binlog.6\t339", "../binlog.000006\t339\t", "binlog.000006\t-1\t", "binlog.000006\t339\t\t"} {
		if at, err := parsePosition(text); err == nil {
			t.Errorf("%q is read as %+v", text, at)
		}
	}
	logs := []row{{"Log_name": "binlog.000001", "File_size": "100"}, {"Log_name": "binlog.000002", "File_size": "50"}, {"Log_name": "binlog.000003", "File_size": "7"}}
	if got := behind(logs, "binlog.000002", "40"); got != 17 {
		t.Errorf("it is %d bytes behind", got)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("binlog.000006\t339\t0-7-2\n", "end_time = 2026-11-22 08:47:58\n")
	f.Fuzz(func(t *testing.T, text, info string) {
		at, err := parsePosition(text)
		if n, ok := number(at.file); err == nil && (!ok || segmentName(n) != at.file) {
			t.Errorf("%q is read as %+v", text, at)
		}
		parseInfo(info)
		parseVersion(info)
		endOf(info)
	})
}
