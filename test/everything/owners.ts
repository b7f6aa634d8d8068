/** Where the labels of a sandbox are in Redis. */
export const ownersKey = (realm: string, id: string): string => `postern:${realm}:labels:sandbox:${id}`
