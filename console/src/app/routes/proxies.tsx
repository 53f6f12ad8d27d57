import { Page } from '@/components/ui/page';
import { Circuits } from '@/features/proxies/circuits';
import { Fleet } from '@/features/proxies/fleet';
import { useMessages } from '@/messages/messages';

export function ProxiesRoute() {
  const { proxies } = useMessages();
  return (
    <Page title={proxies.title} text={proxies.text}>
      <Fleet />
      <Circuits />
    </Page>
  );
}
