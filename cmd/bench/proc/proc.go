package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc/PID/stat: USER_HZ, 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// The places of utime and stime in /proc/PID/stat, counted after the command's closing parenthesis.
const (
	utimeField = 11
	stimeField = 12
)

// CPU answers the user and system time that the processes have used since they began, to 10 ms each.
func CPU(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The command stands in parentheses and may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		for _, at := range []int{utimeField, stimeField} {
			ticks, err := strconv.ParseInt(fields[at], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			sum += time.Duration(ticks) * tick
		}
	}
	return sum, nil
}

// Writes answers how many system calls that write the processes have made so far, as /proc/PID/io counts them: write and writev,
// not send and sendmsg.
func Writes(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(raw)) {
			var n int64
			if found, _ := fmt.Sscanf(line, "syscw: %d", &n); found == 1 {
				sum += n
			}
		}
	}
	return sum, nil
}

// Memory answers the resident bytes of the processes; pages that several share are counted once, in parts (Pss).
func Memory(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			var kib int64
			if n, _ := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kib); n == 1 {
				sum += kib << 10
			}
		}
		file.Close()
		if err := lines.Err(); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// Tree answers a process and its children.
func Tree(pid int) ([]int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, err
	}
	pids := []int{pid}
	for field := range strings.FieldsSeq(string(raw)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// Load answers the load average of the last minute.
func Load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// Machine describes processor, number of cores, memory and kernel in one line.
func Machine() string {
	model, cores := "unknown processor", 0
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			name, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(name) {
			case "processor":
				cores++
			case "model name":
				model = strings.TrimSpace(value)
			}
		}
	}
	gib := float64(Installed()) / (1 << 30)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores (%s), %.0f GiB, Linux %s", cores, model, gib, bytes.TrimSpace(kernel))
}

// Installed answers how many bytes of memory the machine has, 0 if that is unknown.
func Installed() int64 {
	var info syscall.Sysinfo_t
	if syscall.Sysinfo(&info) != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// Files raises the limit of open files of this process and its children as far as it may, and answers it.
func Files() (int, error) {
	const want = 1 << 17
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	for _, most := range slices.Compact([]uint64{max(limit.Max, want), limit.Max}) {
		// Set even where it is that already: what Go raised by itself it lowers again for children.
		raised := syscall.Rlimit{Cur: most, Max: most}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
			return int(most), nil
		}
	}
	return int(limit.Cur), nil
}
