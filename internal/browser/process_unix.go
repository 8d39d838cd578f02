//go:build unix

package browser

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process that cmd starts the head of a group, to which all of
// the processes belong that the browser starts.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
