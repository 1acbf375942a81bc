// Gospiffe is go-spiffe on the Workload API socket that SPIFFE_ENDPOINT_SOCKET names, for tests: it
// answers each line on standard input, a word and what it needs, with a line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx := context.Background()
	certificates, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer certificates.Close()
	tokens, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return err
	}
	defer tokens.Close()

	answers := map[string]func([]string) (any, error){
		"svid": func([]string) (any, error) {
			svid, err := certificates.GetX509SVID()
			if err != nil {
				return nil, err
			}
			serial := svid.Certificates[0].SerialNumber
			return map[string]string{"id": svid.ID.String(), "serial": fmt.Sprintf("%x", serial)}, nil
		},
		"jwt": func([]string) (any, error) {
			svid, err := tokens.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "erp"})
			if err != nil {
				return nil, err
			}
			checked, err := jwtsvid.ParseAndValidate(svid.Marshal(), tokens, []string{"erp"})
			if err != nil {
				return nil, err
			}
			return map[string]any{"id": checked.ID.String(), "audience": checked.Audience}, nil
		},
		"fresh": func([]string) (any, error) {
			short, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			svid, err := workloadapi.FetchX509SVID(short)
			if err != nil {
				return nil, err
			}
			return svid.ID.String(), nil
		},
		"listen": func(arguments []string) (any, error) {
			peer, err := spiffeid.FromString(arguments[1])
			if err != nil {
				return nil, err
			}
			mode := spiffetls.MTLSServerWithSource(tlsconfig.AuthorizeID(peer), certificates)
			listener, err := spiffetls.ListenWithMode(ctx, "tcp", arguments[0], mode)
			if err != nil {
				return nil, err
			}
			go serve(listener)
			return listener.Addr().String(), nil
		},
		"dial": func(arguments []string) (any, error) {
			peer, err := spiffeid.FromString(arguments[1])
			if err != nil {
				return nil, err
			}
			mode := spiffetls.MTLSClientWithSource(tlsconfig.AuthorizeID(peer), certificates)
			return dial(ctx, arguments[0], mode)
		},
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := map[string]any{}
		words := strings.Fields(lines.Text())
		if answer, err := answers[words[0]](words[1:]); err != nil {
			line["error"] = err.Error()
		} else {
			line["ok"] = answer
		}
		if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
			return err
		}
	}
	return lines.Err()
}

// serve tells each caller for whom it is taken, until the listener is closed.
func serve(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			// The handshake is made by the first read; a peer that is refused gets an alert.
			if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
				return
			}
			if peer, err := spiffetls.PeerIDFromConn(connection); err == nil {
				fmt.Fprintln(connection, peer)
			}
		}()
	}
}

// dial returns the peer's ID, and for whom the peer takes us.
func dial(ctx context.Context, address string, mode spiffetls.DialMode) (any, error) {
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	connection, err := spiffetls.DialWithMode(short, "tcp", address, mode)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(connection, "hello\n"); err != nil {
		return nil, err
	}
	// With TLS 1.3 a client learns only here that it was refused.
	taken, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return nil, err
	}
	peer, err := spiffetls.PeerIDFromConn(connection)
	if err != nil {
		return nil, err
	}
	return map[string]string{"peer": peer.String(), "taken for": strings.TrimSpace(taken)}, nil
}
