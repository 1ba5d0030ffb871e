package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// A device plugin without devices: it advertises healthy ones that do nothing, so that scheduling onto
// accelerator nodes can be shown where there is no accelerator.
type stubPlugin struct {
	api.UnimplementedDevicePluginServer
	resource string
	count    int
}

func newDevicePluginCommand() *cobra.Command {
	plugin := &stubPlugin{}
	var dir string
	command := &cobra.Command{
		Use:   "device-plugin",
		Short: "advertise devices that do nothing",
		RunE: func(command *cobra.Command, _ []string) error {
			return plugin.run(command.Context(), dir)
		},
	}
	command.Flags().StringVar(&plugin.resource, "resource", "theblock.dev/fake-gpu", "extended resource to advertise")
	command.Flags().IntVar(&plugin.count, "count", 1, "number of devices")
	command.Flags().StringVar(&dir, "dir", api.DevicePluginPath, "folder of the kubelet's device plugins")
	return command
}

// run serves and registers, and does both again whenever the kubelet made its socket anew.
func (p *stubPlugin) run(ctx context.Context, dir string) error {
	kubelet := filepath.Join(dir, "kubelet.sock")
	for {
		made, err := waitFor(ctx, kubelet)
		if err != nil {
			return err
		}
		server, err := p.serve(dir)
		if err != nil {
			return err
		}
		if err := p.register(ctx, kubelet); err != nil {
			fmt.Fprintln(os.Stderr, "registering failed, trying again:", err)
		} else {
			fmt.Println("registered", p.resource, "x", p.count)
			for ctx.Err() == nil && sameSocket(kubelet, made) {
				pause(ctx, time.Second)
			}
		}
		server.Stop()
		if ctx.Err() != nil {
			return nil
		}
		pause(ctx, time.Second)
	}
}

func (p *stubPlugin) serve(dir string) (*grpc.Server, error) {
	path := filepath.Join(dir, "theblock-stub.sock")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, p)
	go func() {
		if err := server.Serve(listener); err != nil {
			fmt.Fprintln(os.Stderr, "serving ended:", err)
		}
	}()
	return server, nil
}

func (p *stubPlugin) register(ctx context.Context, kubelet string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{
		Version: api.Version, Endpoint: "theblock-stub.sock", ResourceName: p.resource,
	})
	return err
}

func (p *stubPlugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *stubPlugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	devices := make([]*api.Device, p.count)
	for index := range devices {
		devices[index] = &api.Device{ID: fmt.Sprintf("stub-%d", index), Health: api.Healthy}
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *stubPlugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"THEBLOCK_STUB_DEVICE": "1"},
		})
	}
	return response, nil
}

func (p *stubPlugin) GetPreferredAllocation(context.Context, *api.PreferredAllocationRequest) (*api.PreferredAllocationResponse, error) {
	return &api.PreferredAllocationResponse{}, nil
}

func (p *stubPlugin) PreStartContainer(context.Context, *api.PreStartContainerRequest) (*api.PreStartContainerResponse, error) {
	return &api.PreStartContainerResponse{}, nil
}

func waitFor(ctx context.Context, path string) (os.FileInfo, error) {
	for {
		info, err := os.Stat(path)
		if err == nil {
			return info, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		pause(ctx, time.Second)
	}
}

func sameSocket(path string, made os.FileInfo) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(info, made)
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
