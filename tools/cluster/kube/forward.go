package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	dialTimeout    = 5 * time.Second
	connectionsMax = 256
)

// A forwarder between two network namespaces: listening sockets are made outside and handed in as open files; what
// connects to them is dialled from where this process runs. Names are looked up anew for every connection, so that a
// pod that came back elsewhere is found.
type forwarder struct {
	dialer net.Dialer
	slots  chan struct{}
}

func newForwardCommand() *cobra.Command {
	var routes []string
	var dns string
	command := &cobra.Command{
		Use:   "forward",
		Short: "carry connections into this network namespace",
		RunE: func(command *cobra.Command, _ []string) error {
			made := &forwarder{slots: make(chan struct{}, connectionsMax)}
			made.dialer.Timeout = dialTimeout
			if dns != "" {
				made.dialer.Resolver = &net.Resolver{
					PreferGo: true,
					Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
						return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, dns)
					},
				}
			}
			return made.run(command.Context(), routes)
		},
	}
	command.Flags().StringArrayVar(&routes, "route", nil, "FD=HOST:PORT: an open listening socket and where it leads")
	command.Flags().StringVar(&dns, "dns", "", "the resolver of the targets' names")
	return command
}

func (f *forwarder) run(ctx context.Context, routes []string) error {
	failed := make(chan error, len(routes))
	for _, route := range routes {
		number, target, found := strings.Cut(route, "=")
		fd, err := strconv.Atoi(number)
		if !found || err != nil {
			return fmt.Errorf("a route is FD=HOST:PORT, not %q", route)
		}
		listener, err := net.FileListener(os.NewFile(uintptr(fd), route))
		if err != nil {
			return fmt.Errorf("%s: %w", route, err)
		}
		go func() { failed <- f.serve(ctx, listener, target) }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

func (f *forwarder) serve(ctx context.Context, listener net.Listener, target string) error {
	for {
		outside, err := listener.Accept()
		if err != nil {
			return err
		}
		select {
		case f.slots <- struct{}{}:
			go func() {
				defer func() { <-f.slots }()
				f.carry(ctx, outside.(*net.TCPConn), target)
			}()
		default:
			outside.Close()
		}
	}
}

// carry copies both ways until both sides have ended; the end of one direction is passed on.
func (f *forwarder) carry(ctx context.Context, outside *net.TCPConn, target string) {
	defer outside.Close()
	connection, err := f.dialer.DialContext(ctx, "tcp4", target)
	if err != nil {
		fmt.Fprintln(os.Stderr, "not reached:", target, err)
		return
	}
	inside := connection.(*net.TCPConn)
	defer inside.Close()
	done := make(chan struct{})
	go func() {
		copyHalf(inside, outside)
		close(done)
	}()
	copyHalf(outside, inside)
	<-done
}

func copyHalf(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		// A reset on either side ends both.
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
