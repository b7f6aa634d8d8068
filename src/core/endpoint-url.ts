const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/

/** Whether tokens and keys may come from a URL: https anywhere, http on loopback only, where nobody listens in. */
export const isEndpointUrl = ({ protocol, hostname }: URL): boolean =>
  protocol === 'https:' || (protocol === 'http:' && loopback.test(hostname))
