package target

import (
	"context"
	"fmt"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
	"github.com/warren-gateway/warren/cmd/bench/load"
	"github.com/warren-gateway/warren/cmd/bench/publish"
)

// Rabbit is a RabbitMQ node of the benchmark's own, with its Web STOMP and Web MQTT plugins.
type Rabbit struct {
	*rabbittest.Node
	stomp, mqtt int // ports
}

// StartRabbit starts a node.
func StartRabbit(ctx context.Context) (*Rabbit, error) {
	var ports [4]int
	for i := range ports {
		var err error
		if ports[i], err = rabbittest.FreePort(); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf("web_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = %d\nweb_mqtt.tcp.ip = 127.0.0.1\nweb_mqtt.tcp.port = %d\n"+
		"stomp.listeners.tcp.1 = 127.0.0.1:%d\nmqtt.listeners.tcp.1 = 127.0.0.1:%d\n", ports[0], ports[1], ports[2], ports[3])
	node, err := rabbittest.Start(ctx, rabbittest.Options{Plugins: []string{"rabbitmq_web_stomp", "rabbitmq_web_mqtt"}, Config: config})
	if err != nil {
		return nil, err
	}
	return &Rabbit{Node: node, stomp: ports[0], mqtt: ports[1]}, nil
}

// WebPlugin is one of the node's plugins seen as a server.
type WebPlugin struct {
	rabbit *Rabbit
	kind   string
}

// Plugin answers the plugin for a kind, load.STOMP or load.MQTT.
func (r *Rabbit) Plugin(kind string) WebPlugin { return WebPlugin{rabbit: r, kind: kind} }

// mqttTopic is what the messages' routing key is called in MQTT.
const mqttTopic = publish.RoutingKey

// Name answers the plugin's name.
func (p WebPlugin) Name() string {
	if p.kind == load.STOMP {
		return "Web STOMP"
	}
	return "Web MQTT"
}

// PIDs answers the broker's process: it is the server.
func (p WebPlugin) PIDs() []int { return []int{p.rabbit.PID()} }

// Stream subscribes to the routing key at amq.topic, which makes a queue for each reader.
func (p WebPlugin) Stream(string) load.Target {
	if p.kind == load.STOMP {
		return load.Target{
			Kind: load.STOMP, Addr: fmt.Sprintf("127.0.0.1:%d", p.rabbit.stomp), Path: "/ws", Topic: "/exchange/amq.topic/" + publish.RoutingKey,
		}
	}
	return load.Target{Kind: load.MQTT, Addr: fmt.Sprintf("127.0.0.1:%d", p.rabbit.mqtt), Path: "/ws", Topic: mqttTopic}
}

// Publish publishes to amq.topic.
func (p WebPlugin) Publish() publish.Target {
	return publish.Target{Kind: publish.AMQP, URL: p.rabbit.URL(), Exchange: "amq.topic"}
}

// Stop does nothing: the node goes on.
func (WebPlugin) Stop() {}
