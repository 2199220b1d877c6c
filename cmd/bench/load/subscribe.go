package load

import "strconv"

// The opcodes of WebSocket data frames.
const (
	opText   = 1
	opBinary = 2
)

// clientFrame makes a frame of less than 126 bytes as clients send it. The mask is zero, so masking changes nothing.
func clientFrame(opcode byte, payload string) string {
	return string([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// stomp logs in and subscribes without acknowledgements.
func (h *hello) stomp(destination string) error {
	if err := h.send(clientFrame(opText, "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\x00")); err != nil {
		return err
	}
	if _, err := h.until("CONNECTED"); err != nil {
		return err
	}
	if err := h.send(clientFrame(opText, "SUBSCRIBE\nid:0\nack:auto\nreceipt:1\ndestination:"+destination+"\n\n\x00")); err != nil {
		return err
	}
	_, err := h.until("RECEIPT")
	return err
}

// mqtt logs in with a clean session and no keep-alive, and subscribes at QoS 0.
func (h *hello) mqtt(topic string) error {
	id := "bench-" + strconv.Itoa(h.fd) // no other open stream of this process has the number
	connect := mqttString("MQTT") + "\x04\xc2\x00\x00" + mqttString(id) + mqttString("guest") + mqttString("guest")
	if err := h.send(clientFrame(opBinary, "\x10"+string(rune(len(connect)))+connect)); err != nil {
		return err
	}
	if _, err := h.until("\x20\x02\x00\x00"); err != nil {
		return err
	}
	subscribe := "\x00\x01" + mqttString(topic) + "\x00"
	if err := h.send(clientFrame(opBinary, "\x82"+string(rune(len(subscribe)))+subscribe)); err != nil {
		return err
	}
	_, err := h.until("\x90\x03\x00\x01\x00")
	return err
}

func mqttString(s string) string { return string([]byte{0, byte(len(s))}) + s }
