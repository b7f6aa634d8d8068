import { ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js'
import { refusedPeer } from './transport.ts'

/** Ends every call with PERMISSION_DENIED, its message unread: for peers that are not on the listener's list. */
export const refuseCalls: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start: () => call.sendStatus({ code: status.PERMISSION_DENIED, details: refusedPeer }),
  })
