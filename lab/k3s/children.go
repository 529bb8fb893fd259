package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"shaka.platform/lab/k3s/internal/config"
)

// child is a component in its own process.
type child struct {
	name    string
	process *os.Process
	gone    chan struct{}
}

// start runs one child; the death of any ends the service, and systemd starts it again. The child is told to end when the thread that started it
// does, so the server keeps its goroutine on one.
func (s *server) start(name, path string, args ...string) {
	command := exec.Command(path, args...)
	command.Env = environ(s.bin)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	logrus.Infof("Running %s %v", name, args)
	must(command.Start())
	c := child{name, command.Process, make(chan struct{})}
	s.children = append(s.children, c)
	go func() {
		err := command.Wait()
		close(c.gone)
		s.fail(fmt.Errorf("%s exited: %w", name, err))
	}()
}

// component runs one of this binary's own components, with the user's arguments in place of the same ones of ours.
func (s *server) component(name string, own ...string) {
	s.start(name, s.self, append([]string{name}, config.Args(own, s.config[name+"-arg"])...)...)
}

// stop ends the children, the last started first; containers stay, held by their shims. An API server waits a minute for clients that watch, which are
// the pods; K3s does not wait for them either.
func (s *server) stop() {
	for _, c := range slices.Backward(s.children) {
		_ = c.process.Signal(syscall.SIGTERM) // it may have gone already
		select {
		case <-c.gone:
		case <-time.After(3 * time.Second):
			logrus.Infof("Killing %s, which still serves clients", c.name)
			_ = c.process.Kill()
		}
	}
}
