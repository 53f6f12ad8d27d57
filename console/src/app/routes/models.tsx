import { Page } from '@/components/ui/page';
import { Capabilities } from '@/features/models/capabilities';
import { Mappings } from '@/features/models/mappings';
import { useMessages } from '@/messages/messages';

export function ModelsRoute() {
  const { models } = useMessages();
  return (
    <Page title={models.title}>
      <Mappings />
      <Capabilities />
    </Page>
  );
}
